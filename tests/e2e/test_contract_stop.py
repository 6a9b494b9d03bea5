# SPDX-License-Identifier: MIT
"""The end: draining, the second signal, what is saved, and a log that nobody reads."""
import os
import signal
import subprocess
import threading

import pytest
from support import actions, wire
from support.client import Client, call, chat_body
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


def in_one_moment(gw, *numbers):
    """For what happens while the gateway sees nothing: it is stopped, then these signals come, then it goes on."""
    class Moment:
        def __enter__(self):
            gw.signal(signal.SIGSTOP)

        def __exit__(self, *_):
            for number in numbers:
                gw.signal(number)
            gw.signal(signal.SIGCONT)
    return Moment()


def test_what_the_kernel_has_accepted_is_answered(lab):
    """Goal: connections in the accept queue at the moment of the signal, those without a request yet among them, are served and then left."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"limits": {"drain_time": 60}})
    with in_one_moment(gw, signal.SIGTERM):
        asked = [gw.open_chat(stream=False) for _ in range(20)]
        silent = [Client(gw.address) for _ in range(5)]
        for c in silent:
            c.send(b"POST /v1/chat")  # the rest follows when the gateway drains
    gw.wait_log(r"(?i)stop|drain")
    for c in silent:
        c.send(c.request_bytes("POST", "/v1/chat/completions", (), chat_body())[len(b"POST /v1/chat"):])
    for c in asked + silent:
        answer = c.read()
        assert answer.status == 200 and answer.clean and c.at_end()
        c.close()
    ended(gw)


def test_request_sent_on_a_kept_connection_is_answered(lab):
    """Goal: a request that crossed the signal on a kept connection is answered, and the connection closed after that."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"limits": {"drain_time": 60}})
    clients = [gw.open_chat(stream=False) for _ in range(6)]
    assert [c.read().header("connection") for c in clients] == [None] * 6
    with in_one_moment(gw, signal.SIGTERM):
        for c in clients:
            c.request("POST", "/v1/chat/completions", (), chat_body())
    for c in clients:
        answer = c.read()
        assert answer.status == 200 and answer.clean and c.at_end()
        c.close()
    ended(gw)


def test_request_pipelined_behind_a_stream_is_answered(lab):
    """Goal: an answer that began before the signal promised to keep the connection: the request behind it is answered, too."""
    gate = threading.Event()
    up = lab.upstream(actions.stream(wire.role(), wire.delta("a"), gate, wire.finish(), wire.DONE), actions.ok())
    gw = lab.failover({"p": up}, config={"limits": {"drain_time": 60}})
    with gw.open_chat() as c:
        c.request("POST", "/v1/chat/completions", (), chat_body())
        first = c.start()
        assert first.next_event() and first.header("connection") is None
        gw.signal(signal.SIGTERM)
        gw.wait_log(r"(?i)stop|drain")
        gate.set()
        assert first.rest().clean
        second = c.read()
        assert second.status == 200 and second.header("connection") == "close"
    ended(gw)


def test_idle_connections_do_not_hold_it_up(lab):
    """Goal: clients that keep their connection and say nothing are waited for a moment, not for the drain time, and nothing is cut."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"limits": {"drain_time": 600}})
    with gw.client() as kept, gw.client() as fresh:
        assert kept.request("GET", "/v1/models").read().status == 200
        gw.signal(signal.SIGTERM)
        ended(gw)
        assert kept.at_end() and fresh.at_end()
    assert "in flight are cut" not in gw.stderr


def test_readiness_ends_at_once(lab):
    """Goal: while it drains /readyz says so, and /healthz, /metrics and the admin API answer until the end."""
    gate = threading.Event()
    up = lab.upstream(actions.stream(wire.role(), wire.delta("a"), gate, wire.finish(), wire.DONE))
    gw = lab.failover({"p": up}, config={"limits": {"drain_time": 60}})
    assert gw.admin_get("/readyz").status == 200
    with gw.open_chat() as c:
        assert c.start().next_event()
        gw.signal(signal.SIGTERM)
        gw.wait_log(r"(?i)stop|drain")
        ready = gw.admin_get("/readyz")
        assert (ready.status, bytes(ready.body)) == (503, b"draining\n")
        assert [gw.admin_get(path).status for path in ("/healthz", "/metrics", "/admin/status")] == [200] * 3
        gate.set()
    ended(gw)


def test_stream_at_the_end_of_the_drain_time(lab):
    """Goal: a stream that outlasts the drain time ends with an error event, without [DONE] and without a clean end of its framing."""
    gw = lab.failover({"p": lab.upstream(actions.endless())}, config={"limits": {"drain_time": 0.5}})
    with gw.open_chat() as c:
        answer = c.start()
        assert answer.next_event()
        gw.signal(signal.SIGTERM)
        events = answer.events()
    ended(gw)
    assert events[-1].error and b"[DONE]" not in answer.body and answer.ended == "cut"
    assert b"the gateway stops" in answer.body and gw.entry(answer)["end"] == "limit"


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
