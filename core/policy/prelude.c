/* SPDX-License-Identifier: MIT */
/*
 * What is written in Lua because it calls functions of the script: a loop in a comparator or a gsub
 * callback then stands in a context that can yield, so the hook can stop it. The argument checks
 * are done in C before these are called.
 */
#include "policy/sandbox.h"

static const char PRELUDE_KEY;

static const char SOURCE[] =
    "local scan, join, sub, type, error = ...\n"
    "\n"
    "-- The value that replaces one match; levels of error(): this, gsub, string.gsub (C), the "
    "script.\n"
    "local function substitute(s, repl, from, to, ...)\n"
    "  if not from then return end\n"
    "  local value\n"
    "  if type(repl) == 'table' then value = repl[(...)] else value = repl(...) end\n"
    "  if not value then return from, to, sub(s, from + 1, to) end\n"
    "  local kind = type(value)\n"
    "  if kind ~= 'string' and kind ~= 'number' then\n"
    "    error('invalid replacement value (a ' .. kind .. ')', 4)\n"
    "  end\n"
    "  return from, to, value\n"
    "end\n"
    "\n"
    "local function gsub(s, p, repl, max)\n"
    "  local anchored = sub(p, 1, 1) == '^'\n"
    "  local out, k, n, at, last = {}, 0, 0, 0, -1\n"
    "  while n < max do\n"
    "    local from, to, value = substitute(s, repl, scan(s, p, at, last))\n"
    "    if not from then break end\n"
    "    n = n + 1\n"
    "    if from > at then k = k + 1; out[k] = sub(s, at + 1, from) end\n"
    "    k = k + 1; out[k] = value\n"
    "    at, last = to, to\n"
    "    if anchored then break end\n"
    "    if k >= 1024 then out[1], k = join(out, k), 1 end\n"
    "  end\n"
    "  k = k + 1; out[k] = sub(s, at + 1)\n"
    "  return join(out, k), n\n"
    "end\n"
    "\n"
    "local function before(a, b) return a < b end\n"
    "\n"
    "local function insertion(t, lo, hi, less)\n"
    "  for i = lo + 1, hi do\n"
    "    local v, j = t[i], i\n"
    "    while j > lo and less(v, t[j - 1]) do\n"
    "      t[j] = t[j - 1]\n"
    "      j = j - 1\n"
    "    end\n"
    "    t[j] = v\n"
    "  end\n"
    "end\n"
    "\n"
    "-- Merge sort: stable, n log n, and it ends whatever the comparator says.\n"
    "local function merge(t, lo, hi, less, tmp)\n"
    "  if hi - lo < 8 then return insertion(t, lo, hi, less) end\n"
    "  local mid = (lo + hi) // 2\n"
    "  merge(t, lo, mid, less, tmp)\n"
    "  merge(t, mid + 1, hi, less, tmp)\n"
    "  for i = lo, mid do tmp[i] = t[i] end\n"
    "  local i, j, k = lo, mid + 1, lo\n"
    "  while i <= mid and j <= hi do\n"
    "    if less(t[j], tmp[i]) then\n"
    "      t[k] = t[j]; j = j + 1\n"
    "    else\n"
    "      t[k] = tmp[i]; i = i + 1\n"
    "    end\n"
    "    k = k + 1\n"
    "  end\n"
    "  while i <= mid do\n"
    "    t[k] = tmp[i]; i = i + 1; k = k + 1\n"
    "  end\n"
    "end\n"
    "\n"
    "local function sort(t, less, n)\n"
    "  merge(t, 1, n, less or before, {})\n"
    "end\n"
    "\n"
    "return gsub, sort\n";

static void import(lua_State *L, int globals) {
    lua_getfield(L, globals, "string");
    lua_getfield(L, -1, "sub");
    lua_remove(L, -2);
    lua_getfield(L, globals, "type");
    lua_getfield(L, globals, "error");
}

void prelude_open(lua_State *L) {
    int part, globals = lua_gettop(L);

    lua_createtable(L, PRELUDE_PARTS, 0);
    if (luaL_loadbufferx(L, SOURCE, sizeof SOURCE - 1, "=(standard library)", "t") != LUA_OK) {
        lua_error(L);
    }
    lua_pushcfunction(L, string_scan);
    lua_pushcfunction(L, table_join);
    import(L, globals);
    lua_call(L, 5, PRELUDE_PARTS - 1);
    for (part = PRELUDE_PARTS - 1; part > 0; part--) {
        lua_rawseti(L, -1 - part, part);
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, &PRELUDE_KEY);
}

void prelude_push(lua_State *L, enum prelude_part part) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &PRELUDE_KEY);
    lua_rawgeti(L, -1, part);
    lua_remove(L, -2);
}
