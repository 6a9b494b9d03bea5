#!/bin/sh
# SPDX-License-Identifier: MIT
# The matrix of SDKs and providers (tests/matrix), once install.sh has brought the JavaScript ones. Arguments go to matrix.py.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/install.sh"
find_node
sdks
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NODE_OPTIONS
MOONGATE_CLIENTS=$clients exec "$build/venv/bin/python" -B "$here/../matrix/matrix.py" "$@"
