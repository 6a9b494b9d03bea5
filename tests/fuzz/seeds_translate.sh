#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes seeds for fuzz_translate of tests/corpus: each request for every provider, each answer and stream for every
# client, behind the byte that says so (choose() in fuzz_translate.c). Argument: the folder to write them to.
set -eu
cd "$(dirname "$0")/../corpus"
out=$1
clients='0 1 2 3'
providers='0 1 2 3 4 5'

number_of() {
    case $1 in
        openai) echo 0 ;; responses) echo 1 ;; anthropic) echo 2 ;; gemini) echo 3 ;; azure) echo 4 ;; bedrock) echo 5 ;;
        *) echo "seeds_translate.sh: unknown dialect '$1': please add it here and to fuzz_translate.c" >&2; exit 1 ;;
    esac
}

seed() { # FILE KIND CLIENT PROVIDER
    byte=$(($3 + 4 * $4 + 24 * $2))
    { printf "\\$((byte / 64))$((byte / 8 % 8))$((byte % 8))"; cat "$1"; } >"$out/${1%%/*}-${1##*/}-$3-$4"
}

mkdir -p "$out"
for file in */request-*.json */answer-*.json */stream-*.sse; do
    dialect=$(number_of "${file%%/*}")
    case $file in
        *.normal.json) ;;
        */request-*) [ "$dialect" -gt 3 ] || for other in $providers; do seed "$file" 0 "$dialect" "$other"; done ;;
        */answer-*) for other in $clients; do seed "$file" 1 "$other" "$dialect"; done ;;
        *) for other in $clients; do seed "$file" 2 "$other" "$dialect"; done ;;
    esac
done
