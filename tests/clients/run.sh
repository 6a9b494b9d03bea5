#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the tests with programs from npm: installs them into build/clients (only when the lock file has changed), then runs *.test.mjs.
# Closes with a line "N passed, N failed, N skipped".
set -eu

here=$(cd "$(dirname "$0")" && pwd)
clients=$here/../../build/clients
mkdir -p "$clients"
clients=$(cd "$clients" && pwd)

command -v npm >/dev/null || { echo "run.sh: npm is missing: tests/support/setup.sh clients installs it" >&2; exit 1; }
if ! cmp -s "$here/package-lock.json" "$clients/installed.json"; then
    echo "Installing the clients into $clients"
    cp "$here/package.json" "$here/package-lock.json" "$clients/"
    (cd "$clients" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
    (cd "$clients/node_modules/opencode-ai" && node postinstall.mjs) # puts the binary of this platform in place
    cp "$here/package-lock.json" "$clients/installed.json"
fi

log=$clients/log
status=0
{ MOONGATE_CLIENTS=$clients node --test --test-reporter=spec "$here"/*.test.mjs 2>&1 || echo $? >"$log.status"; } | tee "$log"
if [ -f "$log.status" ]; then
    status=$(cat "$log.status")
    rm -f "$log.status"
fi
count() { sed -n "s/^[^a-z]*$1 \([0-9][0-9]*\)$/\1/p" "$log" | tail -n 1; }
failed=$(( $(count fail) + $(count cancelled) ))
echo "$(count pass) passed, $failed failed, $(count skipped) skipped"
exit "$status"
