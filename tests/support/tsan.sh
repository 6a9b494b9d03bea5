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
threads='mailbox metrics logfile slots store targets watch audit history reload admin moongate'
units=
for name in $threads; do
    [ -f "tests/unit/test_$name.c" ] && units="$units $out/tests/test_$name"
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

[ $# -gt 0 ] || set -- tests/e2e/test_reload.py tests/e2e/test_gone.py tests/e2e/test_admin.py tests/e2e/test_scenarios_g.py tests/e2e/test_reload_load.py \
    tests/e2e/test_contract_reload.py tests/e2e/test_contract_rules.py tests/e2e/test_reload_watch.py tests/e2e/test_reload_changes.py \
    tests/e2e/test_admin_settings.py tests/e2e/test_settings_kill.py
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
