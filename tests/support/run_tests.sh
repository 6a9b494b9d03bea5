#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs what `make test` built: C unit tests, policy tests in Lua, simulator tests, official SDKs against pretend providers of every dialect, end-to-end
# tests. Closes with "N passed, N failed, N skipped". Exit status 1 when
# anything failed, when one of the parts ran no test, and in CI (CI=true) when anything was skipped.
set -u
cd "$(dirname "$0")/../.."
logs=build/test-logs
rm -rf "$logs"
mkdir -p "$logs"
passed=0 failed=0 skipped=0

add() { passed=$((passed + ${1:-0})) failed=$((failed + ${2:-0})) skipped=$((skipped + ${3:-0})); }
number() { sed -n "$1" "$2" | tail -n 1; }

echo "== unit tests (C, under ASan and UBSan)"
for test in build/asan/tests/test_*; do
    case $test in *.d) continue ;; esac
    name=${test##*/}
    log=$logs/$name.log
    if timeout 300 "$test" >"$log" 2>&1 </dev/null && grep -q '^\[  PASSED  \] [1-9]' "$log"; then
        add "$(number 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log")" 0 \
            "$(number 's/^\[  SKIPPED \] \([0-9]*\) test.*/\1/p' "$log")"
    else
        add "$(number 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log")" \
            "$(n=$(number 's/^\[  FAILED  \] \([0-9]*\) test.*/\1/p' "$log"); echo "${n:-1}")"
        echo "FAILED: $name"
        tail -n 40 "$log"
    fi
done
echo "   $passed passed, $failed failed"

# Runs a command that prints TAP: the log's name, the command.
tap() {
    log=$logs/$1.log
    shift
    if "$@" >"$log" 2>&1 </dev/null && grep -q '^ok' "$log"; then
        add "$(grep -c '^ok' "$log")"
    else
        bad=$(grep -c '^not ok' "$log")
        [ "$bad" -gt 0 ] || bad=1
        add "$(grep -c '^ok' "$log")" "$bad"
        grep -A 8 '^not ok' "$log" || tail -n 20 "$log"
    fi
    echo "   $(grep -c '^ok' "$log") passed, $(grep -c '^not ok' "$log") failed"
}

echo "== policy tests (Lua)"
tap lua lua5.4 tests/lua/run.lua
echo "== simulator tests (Lua, the whole gateway in virtual time)"
tap sim build/asan/moongate test tests/sim policies

tests/support/venv.sh || exit 1
# The tests speak to the loopback only; the ones about proxies set their own.
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY PYTEST_ADDOPTS

# Each SDK against each provider's dialect, as a table. What failed stands below it.
echo "== official SDKs x providers (Python and JavaScript, real sockets)"
matrix=$logs/matrix.log
tests/clients/matrix.sh >"$matrix" 2>&1 </dev/null
status=$?
closing=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$matrix" | tail -n 1)
grep -vxF "$closing" "$matrix" | tail -n "${TEST_LOG_LINES:-400}"
bad=$(echo "$closing" | sed -n 's/.* \([0-9]*\) failed.*/\1/p')
[ "$status" = 0 ] || [ "${bad:-0}" -gt 0 ] || bad=1
add "$(echo "$closing" | sed -n 's/^\([0-9]*\) passed.*/\1/p')" "${bad:-0}" 0
echo "   ${closing:-no cell was run}"

of() { echo "$last" | sed -n "s/.*[^0-9]\([0-9][0-9]*\) $1.*/\1/p;s/^\([0-9][0-9]*\) $1.*/\1/p" | head -n 1; }

# Runs end-to-end tests: the log's name, what pytest is given. Colours and progress are for people; the log keeps all of it.
e2e() {
    log=$logs/$1.log
    shift
    if build/venv/bin/python -m pytest -c tests/pytest.ini -n "${PYTEST_WORKERS:-4}" --dist worksteal -q --color=no "$@" >"$log" 2>&1 </dev/null; then
        tail -n 3 "$log"
        status=0
    else
        status=1
        grep -vE '^[.sFE]+ +\[ *[0-9]+%\]$' "$log" | tail -n "${TEST_LOG_LINES:-400}"
    fi
    last=$(grep -E '[0-9]+ (passed|failed|error)' "$log" | tail -n 1)
    bad=$(($(of failed || true) + $(of error || true) + 0))
    [ "$status" = 0 ] || [ "$bad" -gt 0 ] || bad=1
    add "$(of passed)" "$bad" "$(($(of skipped || true) + $(of xfailed || true) + 0))"
}

echo "== end-to-end tests (Python, real sockets)"
e2e pytest tests/e2e "$@"

# What speaks to providers runs a second time over libcurl, which otherwise only proxies and odd URLs need. These files are the ones in
# which the provider's side decides the test: about 30 s of processor time, a sixth of all end-to-end tests. Not when tests were picked by hand.
if [ $# = 0 ]; then
    echo "== end-to-end tests over libcurl (providers only)"
    for name in contract_answers contract_streams contract_headers contract_failover gone scenarios_a scenarios_b scenarios_e scenarios_h; do
        set -- "$@" "tests/e2e/test_$name.py"
    done
    MOONGATE_TEST_TRANSPORT=libcurl
    export MOONGATE_TEST_TRANSPORT
    e2e pytest-libcurl "$@"
fi

echo
if [ "$skipped" -gt 0 ] && [ "${CI:-}" = true ]; then
    echo "in CI a skipped test counts as failed: $skipped skipped"
    failed=$((failed + skipped)) skipped=0
fi
if [ $((passed + failed)) = 0 ]; then
    echo "no test was run"
    failed=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
