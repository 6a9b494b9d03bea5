#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds every tests/fuzz/fuzz_*.c with clang's fuzzer under ASan and UBSan and runs each for FUZZ_SECONDS (60), FUZZ_JOBS at a time (as many as
# there are processors), from its seeds and from what earlier runs found (build/fuzz/corpus). Prints executions per second, and how many lines
# the target reached of the files that it says it "Reads:" in its opening comment. Fails on a finding and keeps its input in build/fuzz/findings.
# Seeds stand in tests/fuzz/seeds/NAME; what tests/fuzz/seeds_NAME.sh makes comes on top.
# Arguments: names of targets (jscan sse); none = all.
set -u
cd "$(dirname "$0")/../.."
seconds=${FUZZ_SECONDS:-60}
jobs=${FUZZ_JOBS:-$(nproc)}
out=build/fuzz
sanitize='-fsanitize=address,undefined -fno-sanitize-recover=undefined'
clang=${FUZZ_CC:-clang}
packages='lua5.4 libcurl libevent_pthreads libcjson libssl libcrypto zlib'

# A target's name, the library's folder, what to add to the compiler's flags.
build() {
    # shellcheck disable=SC2046,SC2086
    "$clang" -std=gnu11 -D_GNU_SOURCE -g -O1 -Icore -fsanitize=fuzzer $3 $(pkg-config --cflags $packages) \
        "tests/fuzz/fuzz_$1.c" "$2/libmoongate.a" $(pkg-config --libs $packages) -levent -lm -pthread -o "$2/fuzz_$1"
}

# The folders of a target's seeds.
seeds_of() { ls -d "tests/fuzz/seeds/$1" "$out/seeds/$1" 2>/dev/null; }

number() { sed -n "s/^stat::$1: *//p" "$2" | tail -n 1; }

# The files that a target's opening comment names behind "Reads:".
files_of() { sed -n '/Reads:/,/\.$\|\*\/\|\* *$/p' "tests/fuzz/fuzz_$1.c" | tr ' ,' '\n\n' | sed -n 's|^\([a-z_]*/[a-z0-9_]*\.c\)\.*$|core/\1|p' | xargs ls 2>/dev/null; }

# Lines reached of the files that a target reads, in percent, over its whole corpus.
reached() {
    profile=$out/$1.profile
    files=$(files_of "$1")
    [ -n "$files" ] && [ -x "$out/coverage/fuzz_$1" ] || { echo -; return; }
    # shellcheck disable=SC2046
    LLVM_PROFILE_FILE=$profile.raw "$out/coverage/fuzz_$1" -runs=0 "$out/corpus/$1" $(seeds_of "$1") >/dev/null 2>&1
    llvm-profdata merge -sparse "$profile.raw" -o "$profile" 2>/dev/null || { echo -; return; }
    # shellcheck disable=SC2086
    llvm-cov report "$out/coverage/fuzz_$1" -instr-profile="$profile" $files >"$out/$1.coverage" 2>/dev/null
    awk '/^TOTAL/ { print $10 }' "$out/$1.coverage"
}

row() { printf '%-10s %12s %10s %9s %8s  %s\n' "$@"; }

# Runs one target and prints its row.
one() {
    name=$1 corpus=$out/corpus/$1 log=$out/$1.log
    mkdir -p "$corpus"
    rm -rf "$out/seeds/$name"
    [ ! -x "tests/fuzz/seeds_$name.sh" ] || "tests/fuzz/seeds_$name.sh" "$PWD/$out/seeds/$name" || exit 1
    seeds=$(seeds_of "$name")
    [ -n "$seeds" ] || { echo "fuzz: $name has no seeds in tests/fuzz/seeds/$name"; exit 1; }
    # What lives on from input to input would be looked through for leaks after each of them; at the end everything is.
    leaks=1
    ! grep -q 'Lives on' "tests/fuzz/fuzz_$name.c" || leaks=0
    # shellcheck disable=SC2086
    if "$out/fuzz_$name" -max_total_time="$seconds" -max_len=8192 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 -entropic=0 \
        -detect_leaks=$leaks -artifact_prefix="$out/findings/$name-" "$corpus" $seeds >"$log" 2>&1; then
        row "$name" "$(number number_of_executed_units "$log")" "$(number average_exec_per_sec "$log")" \
            "$(find "$corpus" -type f | wc -l)" "$(reached "$name")" ok
        exit 0
    fi
    row "$name" "$(number number_of_executed_units "$log")" - - - FAILED
    grep -vE '^#[0-9]+[[:space:]]+(NEW|REDUCE|pulse|RELOAD)' "$log" | tail -n 40
    exit 1
}

if [ "${1:-}" = --one ]; then
    one "$2"
fi
mkdir -p "$out/findings" "$out/coverage"
[ $# -gt 0 ] || set -- $(ls tests/fuzz/fuzz_*.c | sed 's|.*/fuzz_||;s|\.c$||')

# clang knows other warnings than gcc, under which the tree is kept clean.
make -s -j"$jobs" BUILD=$out CC="$clang" WERROR=0 WARN= OPT="-O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link $sanitize" \
    $out/libmoongate.a || exit 1
make -s -j"$jobs" BUILD=$out/coverage CC="$clang" WERROR=0 WARN= OPT='-O1 -fprofile-instr-generate -fcoverage-mapping' \
    $out/coverage/libmoongate.a || exit 1
for name in "$@"; do
    build "$name" $out "$sanitize" && build "$name" $out/coverage '-fprofile-instr-generate -fcoverage-mapping' || exit 1
done
row target executions 'per second' corpus reached ''
printf '%s\n' "$@" | xargs -P "$jobs" -n 1 "$0" --one
status=$?
[ $status = 0 ] || echo "the inputs are in $out/findings: run $out/fuzz_NAME INPUT to see one again"
exit $status
