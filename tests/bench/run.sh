#!/bin/sh
# SPDX-License-Identifier: MIT
# What `make bench` runs; arguments are passed on to bench.py (--quick, --json, …).
"$(dirname "$0")/simulate.sh" >&2
exec python3 -B "$(dirname "$0")/bench.py" "$@"
