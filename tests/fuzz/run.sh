#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds every tests/fuzz/fuzz_*.c with clang's fuzzer under ASan and UBSan and runs each for FUZZ_SECONDS (60), from its seeds and from what
# earlier runs found (build/fuzz/corpus). Prints executions per second. Fails on a finding and keeps its input in build/fuzz/findings.
# Arguments: names of targets (jscan sse); none = all.
set -u
cd "$(dirname "$0")/../.."
seconds=${FUZZ_SECONDS:-60}
out=build/fuzz
sanitize='-fsanitize=address,undefined -fno-sanitize-recover=undefined'
clang=${FUZZ_CC:-clang}
packages='lua5.4 libcurl libevent_pthreads libcjson libssl libcrypto zlib'
mkdir -p "$out/findings"

# clang knows other warnings than gcc, under which the tree is kept clean.
make -s BUILD=$out CC="$clang" WERROR=0 WARN= OPT="-O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link $sanitize" \
    $out/libmoongate.a || exit 1

[ $# -gt 0 ] || set -- $(ls tests/fuzz/fuzz_*.c | sed 's|.*/fuzz_||;s|\.c$||')
number() { sed -n "s/^stat::$1: *//p" "$2" | tail -n 1; }
failed=0
for name in "$@"; do
    program=$out/fuzz_$name corpus=$out/corpus/$name log=$out/$name.log seeds=tests/fuzz/seeds/$name
    mkdir -p "$corpus"
    "$clang" -std=gnu11 -D_GNU_SOURCE -g -O1 -Icore -fsanitize=fuzzer $sanitize $(pkg-config --cflags $packages) \
        "tests/fuzz/fuzz_$name.c" $out/libmoongate.a $(pkg-config --libs $packages) -levent -lm -pthread -o "$program" || exit 1
    [ -d "$seeds" ] || { echo "fuzz: $name has no seeds in $seeds"; exit 1; }
    if "$program" -max_total_time="$seconds" -max_len=8192 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$out/findings/$name-" "$corpus" "$seeds" >"$log" 2>&1; then
        printf '%-10s %10s executions, %7s per second\n' "$name" \
            "$(number number_of_executed_units "$log")" "$(number average_exec_per_sec "$log")"
    else
        failed=1
        printf '%-10s FAILED\n' "$name"
        grep -vE '^#[0-9]+[[:space:]]+(NEW|REDUCE|pulse|RELOAD)' "$log" | tail -n 40
    fi
done
[ $failed = 0 ] || echo "the inputs are in $out/findings: run $out/fuzz_NAME INPUT to see one again"
exit $failed
