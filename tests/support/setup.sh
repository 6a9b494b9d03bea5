#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what is missing on a Debian machine, by groups: setup.sh build|test|clients|bench|profile|fuzz. Silent, and without a call of apt,
# when everything is there. On another system it names the packages and stops. SETUP_DRY=1 only names what is missing.
set -eu

packages_of() {
    build='gcc libc6-dev make pkg-config liblua5.4-dev libcurl4-openssl-dev libevent-dev libcjson-dev libssl-dev zlib1g-dev ca-certificates curl'
    case $1 in
        build) echo "$build" ;;
        test) echo "$build lua5.4 libcmocka-dev python3 python3-venv"; node_is_there || echo "nodejs npm" ;;
        clients) echo "$build python3 python3-venv"; node_is_there || echo "nodejs npm" ;;
        bench) echo "$build haproxy nginx libnginx-mod-http-lua lua-cjson valgrind python3" ;;
        profile) echo "$build python3 binutils strace valgrind linux-perf" ;;
        fuzz) echo "$build clang libclang-rt-dev llvm" ;; # the runtime is only recommended by clang
        *) echo "setup.sh: unknown group '$1': build, test, clients, bench, profile or fuzz is expected" >&2; exit 2 ;;
    esac
}

# Node may come from elsewhere than Debian. Debian's runs npm and is too old for the clients themselves: tests/clients/run.sh sees to that.
node_is_there() {
    command -v npm >/dev/null 2>&1 || return 1
    major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null) && [ "${major:-0}" -ge 18 ]
}

missing_of() {
    for package in "$@"; do
        case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
            'install ok installed') ;;
            *) printf '%s ' "$package" ;;
        esac
    done
}

[ $# -gt 0 ] || { echo "usage: setup.sh build|test|clients|bench|profile|fuzz..." >&2; exit 2; }
wanted=
for group in "$@"; do
    more=$(packages_of "$group") || exit $?
    wanted="$wanted $more"
done
[ -n "${wanted# }" ] || exit 0

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
    # Not Debian: what matters is whether the pieces are there, whoever brought them.
    [ -z "${MOONGATE_NO_SETUP:-}" ] || exit 0
    cat >&2 <<END
setup.sh: this is no Debian system, so nothing is installed here. Please install what these Debian packages hold:
 $(printf '%s\n' $wanted | sort -u | tr '\n' ' ')
and run the same command again with MOONGATE_NO_SETUP=1.
END
    exit 1
fi

missing=$(missing_of $(printf '%s\n' $wanted | sort -u))
[ -n "$missing" ] || exit 0
if [ -n "${SETUP_DRY:-}" ]; then
    echo "$missing"
    exit 0
fi

as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "setup.sh: please install these packages as root (there is no sudo): $missing" >&2
        exit 1
    }
    as_root=sudo
fi
echo "Installing: $missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Through env, because sudo drops the environment. A new machine may be busy with its first upgrade: that lock is waited for.
apt() { # COMMAND, then its words
    command=$1
    shift
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get "$command" -qq -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 "$@" </dev/null >>"$log" 2>&1
}
install() { apt install -y --no-install-recommends $missing; }
# An update that could not reach every source may still have brought what is needed here.
install || { : >"$log"; apt update || true; install; } || {
    cat "$log" >&2
    echo "setup.sh: apt could not install: $missing" >&2
    exit 1
}
