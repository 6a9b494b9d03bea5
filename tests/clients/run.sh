#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the tests with programs from npm: installs them into build/clients (only when the lock file has changed), then runs *.test.mjs.
# Where the machine's Node is older than they need, it installs a newer one into build/node, from npm as well.
# Closes with a line "N passed, N failed, N skipped". Exit status 1 when a test failed, when none ran, and in CI (CI=true) when one was skipped.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$here/../../build
mkdir -p "$build"
build=$(cd "$build" && pwd)
clients=$build/clients

command -v npm >/dev/null || { echo "run.sh: npm is missing: tests/support/setup.sh clients installs it" >&2; exit 1; }

# install FOLDER LOCKED: what the lock file in LOCKED names, into FOLDER. True when there was something to do.
install() {
    ! cmp -s "$2/package-lock.json" "$1/installed.json" || return 1
    echo "Installing into $1"
    mkdir -p "$1"
    rm -f "$1/installed.json"
    cp "$2/package.json" "$2/package-lock.json" "$1/"
    (cd "$1" && npm ci --no-audit --no-fund --ignore-scripts --fetch-retries=5 --loglevel=error) || exit 1
}

# The oldest that @copilotkit/aimock runs on.
node_is_new_enough() {
    node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 15) ? 0 : 1)' 2>/dev/null
}
if ! node_is_new_enough; then
    install "$build/node" "$here/node" && cp "$here/node/package-lock.json" "$build/node/installed.json"
    for bin in "$build"/node/node_modules/node-linux-*/bin; do PATH=$bin:$PATH; done
    export PATH
    node_is_new_enough || {
        echo "run.sh: Node $(node --version 2>&1) was found, >= 20.15 is needed, and npm brought none for $(uname -sm)" >&2
        exit 1
    }
fi
echo "Node $(node --version)"

if install "$clients" "$here"; then
    (cd "$clients/node_modules/opencode-ai" && node postinstall.mjs) # puts the binary of this platform in place
    cp "$here/package-lock.json" "$clients/installed.json"
fi

# The tests speak to the loopback only, and their output is read here.
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY FORCE_COLOR NODE_OPTIONS
log=$clients/log
status=0
rm -f "$log.status"
{ MOONGATE_CLIENTS=$clients node --test --test-reporter=spec "$here"/*.test.mjs 2>&1 || echo $? >"$log.status"; } | tee "$log"
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
