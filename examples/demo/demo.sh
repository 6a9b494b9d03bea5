#!/bin/sh
# SPDX-License-Identifier: MIT
# The demo: two pretend providers, a gateway in front of them, and one request for each way in which the first provider can fail.
# Stays up for trying by hand until Ctrl-C; DEMO_ONCE=1 ends it, with status 0 only when every request went as it should.
# POSIX sh and curl; needs build/moongate (or $MOONGATE), no key and no network.
set -u

root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
moongate=${MOONGATE:-$root/build/moongate}
deadline=${DEMO_DEADLINE:-30} # seconds to wait for a process to listen or a log line to appear
dir=$(mktemp -d) || exit 1
pids=
wrong=0

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$(printf '\033[1m') dim=$(printf '\033[2m') red=$(printf '\033[31m') green=$(printf '\033[32m') off=$(printf '\033[0m')
else
    bold= dim= red= green= off=
fi

finish() {
    trap - EXIT INT TERM
    for pid in $pids; do kill "$pid" 2>/dev/null; done
    for pid in $pids; do wait "$pid" 2>/dev/null; done
    rm -rf "$dir"
    exit "$1"
}
trap 'finish $?' EXIT
trap 'echo; finish 0' INT TERM

die() {
    echo "demo: $*" >&2
    exit 1
}

# until_true COMMAND...: waits for it, at most $deadline seconds.
until_true() {
    tries=$((deadline * 20))
    while ! "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.05
    done
}

listening() {
    port=$(sed -n 's/.*listening on [^ ]*:\([0-9][0-9]*\).*/\1/p' "$dir/$1.err" | head -n 1)
    [ -n "$port" ] || ! kill -0 "$pid" 2>/dev/null
}

# start NAME FOLDER [VAR=VALUE...]: runs a gateway on a free port and leaves that in $port.
start() {
    name=$1 config=$root/examples/$2/gateway.lua
    shift 2
    : >"$dir/$name.err" # there before the first look at it
    env LISTEN=127.0.0.1:0 "$@" "$moongate" serve -c "$config" >"$dir/$name.out" 2>"$dir/$name.err" &
    pid=$!
    pids="$pids $pid"
    until_true listening "$name"
    [ -n "$port" ] || { cat "$dir/$name.err" >&2; die "$name did not start"; }
}

set_fault() {
    curl -sSf -o /dev/null -H 'content-type: application/json' -d "{\"provider\":\"first\",\"fault\":\"$1\"}" \
        "http://127.0.0.1:$first/pretend/fault" || die "the first provider does not take orders"
}

text() { grep -o '"content":"[^"]*"' "$1" | sed 's/^"content":"//; s/"$//' | tr -d '\n'; }
header() { tr -d '\r' <"$dir/head" | sed -n "s/^$1: //p"; }

# What curl made of the answer, in words.
saw() {
    printf '%s  %s' "$status" "$(text "$dir/body")"
    if grep -q '^data: .*"error"' "$dir/body"; then printf ' … and then an error event'; fi
    if [ "$curl_exit" != 0 ]; then printf ' (curl: exit status %s)' "$curl_exit"; fi
    if [ "$kind" = stream ] && ! grep -q '^data: \[DONE\]' "$dir/body"; then printf ', no [DONE]'; fi
    echo
}

# The trail, one line per attempt: target outcome status time. A stream's whole story is in the access log only.
logged() { grep -F "\"$id\"" "$dir/access" >"$dir/line" 2>/dev/null; }
field() { printf '%s\n' "$1" | sed -n "s/.*\"$2\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }
trail() {
    if [ "$kind" = plain ]; then
        header x-moongate-attempts | tr ',' '\n' | sed 's/^ *\(.*\)=\([a-z_]*\):\([0-9]*\):\([0-9]*ms\)$/\1 \2 \3 \4/'
        return
    fi
    sed 's/.*"attempts":\[\([^]]*\)\].*/\1/; s/},{/}\
{/g' "$dir/line" | while read -r attempt; do
        ms=$(field "$attempt" ms)
        echo "$(field "$attempt" target) $(field "$attempt" outcome) $(field "$attempt" status) ${ms%%.*}ms"
    done
}

# scene TITLE FAULT plain|stream WORDS-OF-THE-TEXT TRAIL END: one request; the last three say what is expected.
scene() {
    kind=$3
    set_fault "$2"
    if [ "$kind" = stream ]; then streaming=',"stream":true'; else streaming=; fi
    status=$(curl -sN -m 60 -D "$dir/head" -o "$dir/body" -w '%{http_code}' -H 'content-type: application/json' \
        -d "{\"model\":\"any\",\"messages\":[{\"role\":\"user\",\"content\":\"Who are you?\"}]$streaming}" "$url/chat/completions")
    curl_exit=$?
    id=$(header x-moongate-request-id)
    until_true logged || die "request $id never reached the access log"
    end=$(field "$(cat "$dir/line")" end)
    trail >"$dir/trail"

    printf '%sThe first provider %s.%s\n' "$bold" "$1" "$off"
    printf '  %-12s %s\n' "client saw" "$(saw)"
    label=attempts
    while read -r target outcome code time; do
        case $outcome in ok) colour=$green ;; *) colour=$red ;; esac
        printf '  %-12s %-20s %s%-20s%s %3s %8s\n' "$label" "$target" "$colour" "$outcome" "$off" "$code" "$time"
        label=
    done <"$dir/trail"
    printf '  %-12s %s\n' "ended" "$end"

    trail_now=$(awk '{ printf "%s%s=%s", sep, $1, $2; sep = " " }' "$dir/trail")
    case $status:$(text "$dir/body") in 200:*"$4"*) ;; *) oops "expected 200 and a text with '$4'" ;; esac
    [ "$trail_now" = "$5" ] || oops "expected the attempts $5"
    [ "$end" = "$6" ] || oops "expected the end to be $6"
    echo
}

oops() {
    printf '  %s%-12s %s%s\n' "$red" "WRONG" "$1" "$off"
    wrong=$((wrong + 1))
}

command -v curl >/dev/null || die "curl is missing"
[ -x "$moongate" ] || die "$moongate is not there: run make first"

start first pretend-providers PRETEND_NAME=first && first=$port
start second pretend-providers PRETEND_NAME=second && second=$port
start gateway demo ACCESS_LOG="$dir/access" \
    FIRST_URL="http://127.0.0.1:$first/as/first/v1" SECOND_URL="http://127.0.0.1:$second/as/second/v1"
url=http://127.0.0.1:$port/v1

echo "The gateway is $url; behind it stand two pretend providers, first and second."
echo
scene 'is well' '' plain 'this is first' 'first/gpt-4o=ok' complete
scene 'is rate-limited' status/429/retry-after/30 plain 'this is second' \
    'first/gpt-4o=rate_limited second/gpt-4o-mini=ok' complete
scene 'is broken' status/500 plain 'this is second' 'first/gpt-4o=server_error second/gpt-4o-mini=ok' complete
scene 'is slow' delay/20 stream 'this is second' 'first/gpt-4o=timeout_first_token second/gpt-4o-mini=ok' complete
scene 'is cut in mid-stream' cut/5 stream 'Hello, this is first' 'first/gpt-4o=stream_broken' upstream_cut
grep -q '^data: \[DONE\]' "$dir/body" && oops 'a broken stream must not end with [DONE]'
scene 'is well again' '' stream 'this is first' 'first/gpt-4o=ok' complete

if [ "$wrong" -gt 0 ]; then
    echo "$wrong of the above did not go as expected." >&2
    finish 1
fi
[ -z "${DEMO_ONCE:-}" ] || finish 0

cat <<END
Everything is still up. Try it, in another terminal:

  curl -i $url/chat/completions -H 'content-type: application/json' \\
    -d '{"model":"any","messages":[{"role":"user","content":"Hello"}]}'

  ${dim}# break the first provider (status/429, delay/20, cut/3, empty …), or mend it with ""${off}
  curl http://127.0.0.1:$first/pretend/fault -H 'content-type: application/json' -d '{"fault":"status/503"}'

Ctrl-C ends it.
END
wait
