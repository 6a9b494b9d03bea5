# SPDX-License-Identifier: MIT
# To be read by other scripts (`. install.sh`, with $here the folder of this file): installs what lock files name, only when they have changed, and puts
# a Node that is new enough into PATH. sdks: SDKs and a pretend provider into build/clients; agents: agent programs, 1 GB, into build/agents.

build=$here/../../build
mkdir -p "$build"
build=$(cd "$build" && pwd)
clients=$build/clients

command -v npm >/dev/null || { echo "npm is missing: tests/support/setup.sh clients installs it" >&2; exit 1; }

# install FOLDER LOCKED: what the lock file in LOCKED names, into FOLDER. True when there was something to do.
install() {
    ! cmp -s "$2/package-lock.json" "$1/installed.json" || return 1
    echo "Installing into $1"
    mkdir -p "$1"
    rm -f "$1/installed.json"
    cp "$2/package.json" "$2/package-lock.json" "$1/"
    (cd "$1" && npm ci --no-audit --no-fund --ignore-scripts --fetch-retries=5 --loglevel=error) || exit 1
}

done_with() { cp "$2/package-lock.json" "$1/installed.json"; }

# The oldest that all of them say they run on.
node_is_new_enough() {
    node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 22 ? 0 : 1)' 2>/dev/null
}

# Where the machine's Node is older, a newer one into build/node, from npm as well.
find_node() {
    node_is_new_enough && return
    install "$build/node" "$here/node" && done_with "$build/node" "$here/node"
    for bin in "$build"/node/node_modules/node-linux-*/bin; do PATH=$bin:$PATH; done
    export PATH
    node_is_new_enough || {
        echo "Node $(node --version 2>&1) was found, >= 22 is needed, and npm brought none for $(uname -sm)" >&2
        exit 1
    }
}

sdks() {
    if install "$clients" "$here"; then done_with "$clients" "$here"; fi
}

agents() {
    if install "$build/agents" "$here/agents"; then
        # Each puts the binary of this platform in place.
        (cd "$build/agents/node_modules/opencode-ai" && node postinstall.mjs)
        (cd "$build/agents/node_modules/@anthropic-ai/claude-code" && node install.cjs)
        done_with "$build/agents" "$here/agents"
    fi
}
