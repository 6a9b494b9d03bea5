#!/bin/sh
# SPDX-License-Identifier: MIT
# Looks for data races: builds under ThreadSanitizer into build/tsan, runs the unit tests that use threads, then end-to-end tests that reload
# under load, watch files and change settings from several sides, against build/tsan/moongate. Every report is kept in build/tsan/reports; fails
# when there is one, or when a test fails.
# Arguments: end-to-end tests for pytest in place of the usual ones.
set -u
cd "$(dirname "$0")/../.."
out=build/tsan
reports=$PWD/$out/reports
rm -rf "$reports"
mkdir -p "$reports"
# Whatever starts threads, a gateway or a server of its own; and what workers share.
units=
for source in $(grep -lE 'pthread|thread_start|moongate\.h|scripted_server\.h' tests/unit/test_*.c) tests/unit/test_watch.c tests/unit/test_audit.c \
    tests/unit/test_reload.c tests/unit/test_translate.c tests/unit/test_exchange_frames.c; do
    name=${source##*/}
    units="$units $out/tests/${name%.c}"
done
make -s -j"${TSAN_JOBS:-2}" BUILD=$out OPT='-O1 -fno-omit-frame-pointer -fsanitize=thread' all $units || exit 1

# Layouts of memory that are random beyond what the sanitizer can take end a program before its first line.
fixed=
setarch -R true 2>/dev/null && fixed='setarch -R'
# libcurl 7.88 closes a socket that is still connecting before it takes it out of the loop: another thread may have got its number by then. The loop
# is asked to forget a number that it does not know, which does nothing.
echo 'race:epoll_ctl' >$out/suppressions
export TSAN_OPTIONS="suppressions=$PWD/$out/suppressions log_path=$reports/race halt_on_error=0 exitcode=66 second_deadlock_stack=1 ${TSAN_OPTIONS:-}"
failed=0
for test in $units; do
    if timeout 300 $fixed "$test" >"$reports/${test##*/}.log" 2>&1; then
        echo "ok      ${test##*/}"
    else
        failed=1
        echo "FAILED  ${test##*/}"
        grep -E '^\[ *(ERROR|FAILED|LINE)' "$reports/${test##*/}.log" | head -n 20
    fi
done

# Several workers, and somebody who reloads, watches, changes, stops or hands over while they work.
if [ $# = 0 ]; then
    for name in reload reload_load reload_watch reload_changes contract_reload contract_rules contract_stop settings_kill gone admin admin_settings \
        admin_generations admin_targets policy_state scenarios_g tls libcurl upgrade service translation bedrock gemini dialects aliases \
        scenarios_c scenarios_l; do
        [ -f "tests/e2e/test_$name.py" ] && set -- "$@" "tests/e2e/test_$name.py"
    done
fi
tests/support/venv.sh || exit 1
# The tests start the gateway with an environment of their own: what the sanitizer needs is set by a program in between.
cat >$out/moongate-tsan <<END
#!/bin/sh
TSAN_OPTIONS='$TSAN_OPTIONS' exec $fixed '$PWD/$out/moongate' "\$@"
END
chmod +x $out/moongate-tsan
MOONGATE_BIN=$PWD/$out/moongate-tsan build/venv/bin/python -m pytest -c tests/pytest.ini -q "$@" >"$reports/pytest.log" 2>&1 || failed=1
tail -n 3 "$reports/pytest.log"

for report in "$reports"/race.*; do
    [ -f "$report" ] || continue
    failed=1
    cat "$report"
done
[ $failed = 0 ] && echo "no race was seen"
exit $failed
