#!/bin/sh
# SPDX-License-Identifier: MIT
# The rules of the house that a machine can check. Each has a name; `make lint` prints every breach and fails if there is one.
set -u
cd "$(dirname "$0")/../.."
found=$(mktemp)
trap 'rm -f "$found"' EXIT
breach() { sed "s|^|$1: |" >>"$found"; } # RULE, lines on standard input

# Includes go downward only.
rank() { case $1 in base) echo 1 ;; net) echo 2 ;; config | state) echo 3 ;; upstream) echo 4 ;; policy) echo 5 ;; gateway) echo 6 ;; bind) echo 7 ;; sim) echo 8 ;; admin) echo 9 ;; *) echo 10 ;; esac; }
for part in base net config state upstream policy gateway bind sim admin; do
    grep -Hn '^#include "' core/$part/*.[ch] | while IFS= read -r line; do
        to=$(printf '%s' "$line" | sed 's/.*#include "\([a-z]*\)\/.*/\1/')
        [ "$to" = "$part" ] || [ "$(rank "$to")" -lt "$(rank $part)" ] || printf '%s\n' "$line"
    done | breach include-downward
done
grep -Hn '^#include "cli/' core/moongate*.[ch] | breach include-downward
grep -Hn '^#include "' core/main.c core/cli/*.[ch] | grep -vE '"(moongate\.h|(base|cli|sim)/[a-z_]+\.h|config/snapshot\.h|upstream/fetch\.h)"' | breach program-uses-public-api

# Each library in its room.
grep -rlE '#include <(lua|lauxlib|lualib)\.h>' core | grep -vE '^core/(config|policy|bind|sim)/' | breach lua-in-its-room
grep -rl '#include <curl/' core | grep -v '^core/upstream/curl_library\.h$' | breach curl-in-one-file
grep -rl '#include <cjson/' core | grep -v '^core/base/json\.c$' | breach cjson-in-one-file

grep -rl '#include <openssl/ssl' core | grep -v '^core/net/tls' | breach ssl-in-its-room

# Functions that read or write without a bound, end the process, or keep hidden state.
grep -rnE '(^|[^a-z_])(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atof|exit|abort|_exit|system|rand|srand|strerror_r|setenv|putenv)\(' core --include='*.c' |
    grep -v 'core/main.c' | breach banned-function

# 100 columns.
git ls-files -co --exclude-standard 'core/*.[ch]' | while read -r file; do
    [ ! -f "$file" ] || LC_ALL=C.UTF-8 grep -HnE '^.{101,}$' "$file"
done | breach line-over-100

# Every file says what it is.
for file in $(git ls-files -co --exclude-standard '*.[ch]' '*.lua' '*.py' '*.sh' '*.mjs'); do
    [ -f "$file" ] || continue
    head -n 3 "$file" | grep -q 'SPDX-License-Identifier: MIT' || echo "$file"
done | breach spdx-line

# Lua: no global is set or read that the sandbox does not give.
if command -v luac5.4 >/dev/null 2>&1; then
    for file in lua/moongate/*.lua policies/*.lua examples/*/policies/*.lua examples/*/lua/*.lua; do
        [ -f "$file" ] || continue
        luac5.4 -l -p "$file" | grep -E '(GET|SET)TABUP.*_ENV' |
            grep -vE '_ENV "(require|pairs|ipairs|next|type|tostring|tonumber|select|error|assert|pcall|xpcall|math|string|table|utf8|setmetatable|getmetatable|rawequal|rawget|rawlen|rawset|print)"' |
            grep -E 'SETTABUP|GETTABUP' | sed "s|^|$file:|"
    done | breach lua-global
fi

# Nothing switched off, nothing of one machine.
grep -rnE '\<(TODO|FIXME|XXX)\>' core lua policies tests examples Makefile --include='*.[ch]' --include='*.lua' --include='*.py' --include='Makefile' | breach unfinished
[ ! -s "$found" ] || { cat "$found"; echo "lint: $(wc -l <"$found") found"; exit 1; }
echo "lint: nothing found"
