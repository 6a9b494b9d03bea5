#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes seeds for fuzz_dialect of tests/corpus: each answer, and each event of the streams, behind the byte that says
# which status it came with (0: 200). Argument: the folder to write them to.
set -eu
cd "$(dirname "$0")/../corpus"
out=$1
mkdir -p "$out"
for file in */answer-*.json; do
    { printf '\000'; cat "$file"; } >"$out/${file%%/*}-${file##*/}"
done
# An event's data stands in one line there; the same event of several streams is one seed.
cat */stream-*.sse | sed -n 's/^data: //p' | sort -u | awk -v out="$out" '{ f = out "/event-" NR; printf "%s", "\011" $0 >f; close(f) }'
