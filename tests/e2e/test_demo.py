# SPDX-License-Identifier: MIT
"""examples/demo/demo.sh, as `make demo` runs it."""

import os
import signal
import subprocess
import threading

from support.folders import EXAMPLES
from support.gateway import BINARY
from support.waiting import wait_until

DEMO = EXAMPLES / "demo/demo.sh"
SCENES = ["is well", "is rate-limited", "is broken", "is slow", "is cut in mid-stream", "is well again"]


def environment(**more):
    return {**os.environ, "MOONGATE": str(BINARY), **more}


def test_demo_once():
    """Goal: all scenes are shown, go as they should, and it ends with status 0, without colours when not on a terminal."""
    run = subprocess.run([str(DEMO)], env=environment(DEMO_ONCE="1"), capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    places = [run.stdout.index(f"The first provider {scene}.") for scene in SCENES]
    assert places == sorted(places)
    assert "rate_limited" in run.stdout and "upstream_cut" in run.stdout and "\033" not in run.stdout


def test_demo_notices_wrong_answers(tmp_path):
    """Goal: the status is not 0 when a scene goes wrong: here both providers are the first one."""
    wrapper = tmp_path / "moongate"
    wrapper.write_text(f'#!/bin/sh\n[ -z "$FIRST_URL" ] || export SECOND_URL="$FIRST_URL"\nexec "{BINARY}" "$@"\n')
    wrapper.chmod(0o755)
    run = subprocess.run([str(DEMO)], env=environment(MOONGATE=str(wrapper), DEMO_ONCE="1"), capture_output=True,
                         text=True, timeout=120)
    assert run.returncode == 1 and "WRONG" in run.stdout


def test_demo_says_why_it_cannot_start(tmp_path):
    """Goal: a gateway that does not start ends the demo at once, with the gateway's own words."""
    broken = tmp_path / "moongate"
    broken.write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n")
    broken.chmod(0o755)
    run = subprocess.run([str(DEMO)], env=environment(MOONGATE=str(broken), DEMO_ONCE="1"), capture_output=True,
                         text=True, timeout=120)
    assert run.returncode == 1 and "no such luck" in run.stderr and "first did not start" in run.stderr


def test_demo_stays_up_until_ctrl_c():
    """Goal: without DEMO_ONCE it prints curl lines and stays; Ctrl-C ends it and its processes."""
    process = subprocess.Popen([str(DEMO)], env=environment(DEMO_ONCE=""), stdout=subprocess.PIPE, text=True,
                               start_new_session=True)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True)
    reader.start()
    try:
        wait_until(lambda: any("Ctrl-C ends it" in line for line in list(lines)), "the curl lines", 90)
        assert process.poll() is None
        assert any("curl -i http://127.0.0.1:" in line for line in lines)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
        reader.join(30)
        assert not reader.is_alive()  # nobody holds the pipe any more: the gateways are gone
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
