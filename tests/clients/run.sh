#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the tests with programs from npm, *.test.mjs, once install.sh has brought what they need.
# Closes with a line "N passed, N failed, N skipped". Exit status 1 when a test failed, when none ran, and in CI (CI=true) when one was skipped.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/install.sh"
find_node
echo "Node $(node --version)"
sdks
agents
"$here/../support/venv.sh" # the pretend provider of the agents is in Python

# The tests speak to the loopback only, and their output is read here.
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY FORCE_COLOR NODE_OPTIONS
log=$clients/log
status=0
rm -f "$log.status"
{ MOONGATE_CLIENTS=$clients MOONGATE_AGENTS=$build/agents node --test --test-reporter=spec "$here"/*.test.mjs 2>&1 || echo $? >"$log.status"; } | tee "$log"
[ ! -f "$log.status" ] || status=1
count() { found=$(sed -n "s/^[^a-z]*$1 \([0-9][0-9]*\)$/\1/p" "$log" | tail -n 1); echo "${found:-0}"; }
passed=$(count pass)
failed=$(($(count fail) + $(count cancelled)))
skipped=$(($(count skipped) + $(count todo)))
[ "$status" = 0 ] || [ "$failed" -gt 0 ] || failed=1
# A file without a test is reported as a test that passed.
if empty=$(grep -E '^[^ ]+ [^ ]+\.test\.mjs \([0-9.]+ms\)$' "$log"); then
    echo "no test was run in: $empty"
    failed=$((failed + 1))
fi
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
