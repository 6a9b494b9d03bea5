# SPDX-License-Identifier: MIT
"""The end: draining, the second signal, what is saved, and a log that nobody reads."""
import os
import signal
import subprocess
import threading

import pytest
from support import actions, wire
from support.client import call, chat_body
from support.gateway import BINARY
from support.waiting import wait_until


def ended(gw):
    """Waits for the end: status 0 and no sanitizer's report."""
    gw.checked = True
    status = gw.wait_exit()
    gw.check_reports()
    assert status == 0, f"exit status {status}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stream_in_flight_is_finished(lab, number):
    """Goal: a signal lets a stream under way come to its own end."""
    gate = threading.Event()
    up = lab.upstream(actions.stream(wire.role(), wire.delta("a"), gate, wire.delta("b"), wire.finish(), wire.DONE))
    gw = lab.failover({"p": up}, config={"limits": {"drain_time": 60}})
    with gw.open_chat() as c:
        answer = c.start()
        assert answer.next_event()
        gw.signal(number)
        gw.wait_log(r"(?i)stop|drain")
        gate.set()
        answer.rest()
    assert answer.clean and b"[DONE]" in answer.body
    ended(gw)


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_it_now(lab, again):
    """Goal: a second signal ends the patience: exit status 0, the client is answered, the suspensions are saved."""
    p = lab.upstream(actions.fail(500), actions.silence())
    gw = lab.failover({"p": p}, {"suspend": 600, "targets": ["p/a", "p/b"]}, config={"state_dir": "state", "limits": {"drain_time": 300}})
    with gw.open_chat(stream=False) as c:
        wait_until(lambda: p.count == 2)
        gw.signal(signal.SIGTERM)
        gw.wait_log(r"(?i)stop|drain")
        gw.signal(again)
        ended(gw)
        answer = c.read()
        assert answer.status >= 500 and [t[0] for t in answer.trail][:1] == ["p/a"]
        assert all(t[1] != "ok" for t in answer.trail)
    saved = "".join(f.read_text() for f in (gw.folder / "state").iterdir() if f.is_file())
    assert "p/a" in saved
    gw.write("stderr", "")
    gw.checked = False
    gw.start()
    assert gw.suspended("p/a") and not gw.suspended("p/b")


def test_drain_is_over(lab):
    """Goal: what is cut when the drain time is over is answered by the gateway; trail and log say that it was no success."""
    up = lab.upstream(actions.silence())
    gw = lab.failover({"p": up}, config={"limits": {"drain_time": 0.5}})
    with gw.open_chat(stream=False) as c:
        wait_until(lambda: up.count == 1)
        gw.signal(signal.SIGTERM)
        answer = c.read()
    ended(gw)
    assert answer.status == 503 and [t[1] for t in answer.trail] == ["cancelled"]
    assert [a["outcome"] for a in gw.entry(answer)["attempts"]] == ["cancelled"]


def test_state_survives_a_kill(lab):
    """Goal: suspensions are on disk soon after they were made, not only at the end."""
    gw = lab.failover({"p": lab.upstream(actions.fail(429)), "q": lab.upstream(actions.ok())}, {"suspend": 600}, config={"state_dir": "state"})
    gw.chat()

    def saved():
        folder = gw.folder / "state"
        return folder.exists() and any("p/p-model" in f.read_text() for f in folder.iterdir() if f.is_file() and f.suffix == ".json")
    wait_until(saved)
    gw.signal(signal.SIGKILL)
    gw.process.wait()
    gw.write("stderr", "")
    gw.start()
    assert gw.chat().trail == [("q/q-model", "ok", 200)]


def test_state_file_that_is_broken(lab):
    """Goal: a state file that cannot be read is no reason not to start."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"state_dir": "state"}, start=False)
    gw.write("state/suspensions.json", "{garbage")
    gw.start()
    assert gw.chat().status == 200


def test_log_that_nobody_reads(lab):
    """Goal: with stdout on a pipe that is full and that nobody reads, requests are served and the gateway still ends."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, start=False)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    try:
        with open(gw.folder / "stderr", "wb") as err:
            gw.process = subprocess.Popen([str(BINARY), "serve", "-c", str(gw.folder / "gateway.lua")], stdin=subprocess.DEVNULL,
                                          stdout=writing, stderr=err, env={"PATH": os.environ["PATH"]})
        gw._await_ready()
        assert [call(gw.address, body=chat_body()).status for _ in range(5)] == [200] * 5
        gw.signal(signal.SIGTERM)
        ended(gw)
    finally:
        os.close(reading)
        os.close(writing)
