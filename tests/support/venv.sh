#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes build/venv from tests/requirements.txt. Does nothing when it is there and was made from the same file.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
venv=$root/build/venv
wanted=$(sha256sum "$root/tests/requirements.txt" | cut -d ' ' -f 1)
if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/made-from" 2>/dev/null)" = "$wanted" ] && "$venv/bin/python" -c ''; then
    exit 0
fi

# One that is new enough and can make environments: what PATH has, else Debian's.
for python in python3 /usr/bin/python3; do
    if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
        break
    fi
    python=
done
[ -n "$python" ] || { echo "venv.sh: no python3 >= 3.9 with venv and ensurepip was found" >&2; exit 1; }

echo "Making $venv"
mkdir -p "$root/build"
rm -rf "$venv"
"$python" -m venv "$venv"
fetch() { "$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check --retries 10 -r "$root/tests/requirements.txt" </dev/null; }
fetch || fetch # once more: an index can fail for a moment
echo "$wanted" >"$venv/made-from"
