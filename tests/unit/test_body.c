/* SPDX-License-Identifier: MIT */
/*
 * The values of a body: the cases that the stand-in of the Lua tests is held to, and what only the
 * core's can get wrong: bytes that end, hostile depth and size, memory.
 */
#include "policy_fixture.h"

#include "base/limits.h"
#include "policy/body_values.h"

static char *read_file(const char *path) {
    FILE *f = fopen(path, "r");
    char *text = calloc(1, KIB(64));
    assert_non_null(f);
    assert_true(fread(text, 1, KIB(64) - 1, f) > 0);
    fclose(f);
    return text;
}

static void stage(struct fixture *f, const char *policy) {
    char *cases = read_file("tests/lua/body_cases.lua");
    fixture_init(f);
    fixture_write(f, "gateway.lua",
                  CONFIG_HEAD
                  "{ name = 't', path = '/t', policy = 't', settings = {} }," CONFIG_TAIL);
    fixture_write(f, "lua/moongate/schema.lua", TINY_SCHEMA);
    fixture_write(f, "lua/body_cases.lua", cases);
    fixture_write(f, "policies/t.lua", policy);
    free(cases);
    if (!fixture_stage(f, 1)) {
        fixture_print(f);
        fail();
    }
}

/* Goal: every case of tests/lua/body_cases.lua holds of the core's values. */
static void test_cases(void **state) {
    struct fixture f;
    struct fake_request r;
    struct err err;

    (void)state;
    stage(&f, "local body = require 'moongate.body'\n"
              "return { handle = function()\n"
              "  local failed, n = {}, 0\n"
              "  require 'body_cases'(body, function(name, run)\n"
              "    local good, why = pcall(run)\n"
              "    n = n + 1\n"
              "    if not good then failed[#failed + 1] = name .. ': ' .. tostring(why) end\n"
              "  end)\n"
              "  return n > 15 and (failed[1] or 'good') or 'too few cases'\n"
              "end }\n");
    assert_int_equal(fixture_run(f.gen->lanes[0], &fixture_first, &r, &err), RUN_DONE);
    assert_string_equal(r.result, "good");
    fixture_release(&f);
}

static const char NOTHING[] = "return { handle = function() return '' end }\n";

/* Whether `expression`, of a text t, raises at a depth of so many calls. */
static bool raises_at(lua_State *L, int text, const char *expression, int depth) {
    char chunk[256];
    snprintf(chunk, sizeof(chunk),
             "local t, depth = ...\n"
             "local function at(d) if d > 0 then return (at(d - 1)) end return %s end\n"
             "return at(depth)\n",
             expression);
    assert_int_equal(luaL_loadstring(L, chunk), LUA_OK);
    lua_pushvalue(L, text);
    lua_pushinteger(L, depth);
    bool raised = lua_pcall(L, 2, 1, 0) != LUA_OK;
    bool good = raised && lua_isstring(L, -1) && strstr(lua_tostring(L, -1), "use body.join");
    lua_pop(L, 1);
    return good;
}

static int join_everywhere(lua_State *L) {
    static const char *const joins[] = {"'a' .. t",
                                        "t .. 'b'",
                                        "'a' .. 'b' .. t",
                                        "'a' .. t .. 'c'",
                                        "t .. 'b' .. 'c'",
                                        "'a' .. 'b' .. 'c' .. t",
                                        "'a' .. 'b' .. t .. 'd'",
                                        "'a' .. t .. 'c' .. 'd'",
                                        "t .. 'b' .. 'c' .. 'd'"};
    size_t *wrong = box_arg(L);
    lua_pushliteral(L, "0123456789");
    body_push_leaf(L, -1, STR("0123456789"), false);
    int text = lua_gettop(L);
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++) {
        for (int depth = 0; depth < 120; depth++) {
            *wrong += !raises_at(L, text, joins[i], depth);
        }
    }
    return 0;
}

/*
 * Goal: no `..` of a text returns, so none is lost. Lua 5.4.4 takes the first operand of three for
 * the whole when the stack moves in a __concat; it moves at some depths only, so all are tried.
 */
static void test_concat(void **state) {
    struct fixture f;
    struct err err;
    size_t wrong = 0;

    (void)state;
    stage(&f, NOTHING);
    assert_int_equal(box_protect(f.gen->lanes[0]->box, join_everywhere, &wrong, 0, 0, &err),
                     BOX_OK);
    assert_int_equal(wrong, 0);
    fixture_release(&f);
}

struct bytes {
    struct str text;
    struct body_source *source;
    bool ends; /* before the text is used */
    size_t longest;
    struct buf out;
};

static int decode_and_encode(lua_State *L) {
    struct bytes *b = box_arg(L);
    b->source = body_push_source(L, b->text, false);
    body_decode(L, -1, 0, b->longest);
    b->source->alive = !b->ends;
    body_encode(L, -1, &b->out);
    return 0;
}

static enum box_status round_trip(struct fixture *f, struct bytes *b, struct err *err) {
    buf_release(&b->out);
    buf_init(&b->out, MIB(64));
    b->longest = b->longest ? b->longest : BODY_LONG;
    enum box_status status = box_protect(f->gen->lanes[0]->box, decode_and_encode, b, 0, 0, err);
    return status;
}

static int encode_rope_of_a_boolean(lua_State *L) {
    lua_newtable(L);
    lua_pushboolean(L, 1);
    lua_rawseti(L, -2, 1);
    body_push_rope(L);
    body_encode(L, -1, box_arg(L));
    return 0;
}

/* Goal: a text whose bytes have ended is an error where it is used, not a read of freed memory. */
static void test_ended(void **state) {
    struct fixture f;
    struct err err;
    struct bytes b = {.text = STR("{\"t\":\"0123456789\"}"), .longest = 8};

    (void)state;
    stage(&f, NOTHING);
    assert_int_equal(round_trip(&f, &b, &err), BOX_OK);
    assert_string_equal(b.out.data, "{\"t\":\"0123456789\"}");
    b.ends = true;
    assert_int_equal(round_trip(&f, &b, &err), BOX_ERROR);
    assert_non_null(strstr(err.text, "is over"));
    buf_release(&b.out);
    fixture_release(&f);
}

/* Goal: what is no text within a text is an error, not nothing. */
static void test_no_text(void **state) {
    struct fixture f;
    struct err err;
    struct buf out;

    (void)state;
    stage(&f, NOTHING);
    buf_init(&out, KIB(1));
    assert_int_equal(box_protect(f.gen->lanes[0]->box, encode_rope_of_a_boolean, &out, 0, 0, &err),
                     BOX_ERROR);
    assert_non_null(strstr(err.text, "expected a string or a text, got boolean"));
    buf_release(&out);
    fixture_release(&f);
}

/* Goal: 8 MiB of image never enter Lua; the state stays small. */
static void test_large(void **state) {
    struct fixture f;
    struct err err;
    size_t n = MIB(8);
    char *text = malloc(n);

    (void)state;
    stage(&f, NOTHING);
    memset(text, 'A', n);
    memcpy(text, "{\"url\":\"", 8);
    memcpy(text + n - 2, "\"}", 2);
    struct bytes b = {.text = str_make(text, n)};
    size_t before = f.gen->lanes[0]->box->alloc.used;
    assert_int_equal(round_trip(&f, &b, &err), BOX_OK);
    assert_true(f.gen->lanes[0]->box->alloc.used - before < KIB(8));
    assert_int_equal(b.out.len, n);
    assert_memory_equal(b.out.data, text, n);
    buf_release(&b.out);
    free(text);
    fixture_release(&f);
}

static struct str repeated(struct buf *to, const char *front, const char *what, size_t n,
                           const char *back) {
    buf_init(to, MIB(64));
    int bad = buf_adds(to, front);
    for (size_t i = 0; i < n; i++) {
        bad |= buf_adds(to, what);
    }
    assert_int_equal(bad | buf_adds(to, back), 0);
    return buf_str(to);
}

/* Goal: depth and number of values are bounded; what is no JSON says where. */
static void test_hostile(void **state) {
    struct fixture f;
    struct err err;
    struct bytes b = {.longest = BODY_LONG};
    struct buf text;

    (void)state;
    stage(&f, NOTHING);
    b.text = repeated(&text, "", "[", MAX_JSON_DEPTH + 1, "");
    assert_int_equal(round_trip(&f, &b, &err), BOX_ERROR);
    buf_release(&text);
    b.text = repeated(&text, "[1", ",1", BODY_NODES, "]");
    assert_int_equal(round_trip(&f, &b, &err), BOX_ERROR);
    assert_non_null(strstr(err.text, "values"));
    buf_release(&text);
    b.text = repeated(&text, "{\"", "n", BODY_NAME_MAX, "\":1}");
    assert_int_equal(round_trip(&f, &b, &err), BOX_ERROR);
    assert_non_null(strstr(err.text, "name"));
    buf_release(&text);
    b.text = STR("{\"a\":tru}");
    assert_int_equal(round_trip(&f, &b, &err), BOX_ERROR);
    assert_non_null(strstr(err.text, "byte"));
    b.text = STR("[\"\xff\xfe broken\", \"a long one \xc3 broken\"]");
    b.longest = 14;
    assert_int_equal(round_trip(&f, &b, &err), BOX_OK);
    assert_string_equal(b.out.data, "[\"\xef\xbf\xbd\xef\xbf\xbd broken\",\"a long one "
                                    "\xef\xbf\xbd broken\"]");
    buf_release(&b.out);
    fixture_release(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases), cmocka_unit_test(test_concat),
        cmocka_unit_test(test_ended), cmocka_unit_test(test_no_text),
        cmocka_unit_test(test_large), cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
