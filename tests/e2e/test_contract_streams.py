# SPDX-License-Identifier: MIT
"""Streams and long answers at their edges: the gate, what ends them, and what a client may take for success."""
import threading

import pytest
from support import actions, wire
from support.client import call
from support.waiting import wait_until


def event(name, **fields):
    return b"event: " + name.encode() + b"\ndata: " + wire.dumps({"type": name, **fields}) + b"\n\n"


DELTA = event("response.output_text.delta", delta="x")
ASK = {"model": "m", "stream": True, "input": "x"}


def test_responses_stream(lab):
    """Goal: the responses API ends with response.completed, whose usage is counted."""
    done = event("response.completed", response={"usage": {"input_tokens": 3, "output_tokens": 4}})
    gw = lab.failover({"p": lab.upstream(actions.stream(event("response.created"), DELTA, done))})
    answer = call(gw.address, target="/v1/responses", body=ASK)
    assert answer.clean
    entry = gw.entry(answer)
    assert entry["usage"] == {"input": 3, "output": 4} and entry["end"] == "complete"


def test_responses_stream_cut(lab):
    """Goal: without it the stream is a broken one, however it ended."""
    for end in ("fin", "clean"):
        gw = lab.failover({"p": lab.upstream(actions.stream(event("response.created"), DELTA, end=end))})
        answer = call(gw.address, target="/v1/responses", body=ASK)
        assert not answer.clean and gw.entry(answer)["end"] == "upstream_cut"


def test_first_packet_is_content(lab):
    """Goal: noise does not stop the clock of the first content; a plain answer has none."""
    p = lab.upstream(actions.stream(wire.role(), b": ping\n\n", 0.5, wire.role(), 60, wire.delta("x")))
    gw = lab.failover({"p": p, "q": lab.upstream(actions.talk("q"))}, {"first_packet_timeout": 1.5})
    assert gw.chat(stream=True).trail == [("p/p-model", "timeout_first_token", 200), ("q/q-model", "ok", 200)]
    p.script(actions.ok(delay=1.7))
    assert gw.chat().trail == [("p/p-model", "ok", 200)]


def test_held_bytes_are_capped(lab):
    """Goal: more than 256 KiB without content is not held back: it is passed on, and committed."""
    noise = [b": " + b"x" * 1000 + b"\n\n"] * 300
    p = lab.upstream(actions.stream(wire.role(), *noise, 3.2, wire.delta("z"), wire.finish(), wire.DONE))
    answer = lab.failover({"p": p, "q": lab.upstream(actions.talk("q"))}, {"first_packet_timeout": 3}).chat(stream=True)
    assert answer.trail == [("p/p-model", "ok", 200)] and answer.clean and answer.body.count(b"x" * 1000) == 300


def test_idle_clock_hears_content_only(lab):
    """Goal: pings behind content do not keep a stalled stream alive."""
    def pings(c):
        while True:
            c.event(b": ping\n\n")
            c.sleep(0.05)
    up = lab.upstream(actions.stream(wire.role(), wire.delta("x"), pings))
    answer = lab.failover({"p": up}, {"idle_timeout": 0.5}).chat(stream=True)
    assert not answer.clean and b"[DONE]" not in answer.body


@pytest.mark.parametrize("end", ["fin", "rst", "clean"])
def test_finish_reason_is_an_end(lab, end):
    """Goal: behind a finish reason the stream counts as complete, however the connection ends; nothing is added."""
    up = lab.upstream(actions.stream(wire.role(), wire.delta("x"), wire.finish(), 0.2, end=end))
    answer = lab.failover({"p": up}).chat(stream=True)
    assert answer.clean and b"[DONE]" not in answer.body and b"error" not in answer.body


def test_cut_inside_an_event(lab):
    """Goal: half an event is not passed on as one: what ends the stream is an error event that can be read."""
    up = lab.upstream(actions.stream(wire.role(), wire.delta("a"), b'data: {"choices":[{"de', end="fin"))
    answer = lab.failover({"p": up}).chat(stream=True)
    events = [e for e in answer.events() if e.data]
    assert not answer.clean and events[-1].error, bytes(answer.body)


def test_stream_nobody_asked_for(lab):
    """Goal: a stream in answer to a request for none is passed on to its end."""
    answer = lab.failover({"p": lab.upstream(actions.talk("plain"))}).chat()
    assert answer.status == 200 and answer.clean and b"plain" in answer.body


@pytest.mark.parametrize("limit", [{"max_bytes": 1000}, {"max_seconds": 0.5}], ids=lambda x: next(iter(x)))
def test_limits_of_a_stream(lab, limit):
    """Goal: a stream that passes a limit of its send ends as a broken one, and the log says why."""
    option = ", ".join(f"{k} = {v}" for k, v in limit.items())
    gw = lab.policy({"p": lab.upstream(actions.endless())}, f"return req:send('p/x', {{ {option} }})")
    answer = gw.chat(stream=True)
    assert not answer.clean and b"[DONE]" not in answer.body and gw.entry(answer)["end"] == "limit"


def test_long_error_is_cut(lab):
    """Goal: of an error's body 64 KiB are kept, and the answer is whole as far as it goes."""
    up = lab.upstream(actions.answer(500, body=b"z" * 200000, content_type="text/plain"))
    answer = lab.failover({"p": up}).chat()
    assert answer.status == 500 and answer.clean and 60000 < len(answer.body) <= 65536


def test_long_answer_that_stalls(lab):
    """Goal: a plain answer that was committed for its length and then stalls is cut short, never padded."""
    body = wire.dumps(wire.completion("x" * (2 << 20)))
    head = actions.head(200, {"Content-Type": "application/json", "Content-Length": len(body)})
    gw = lab.failover({"p": lab.upstream(actions.raw(head + body[:1800000], end="stall"))}, {"idle_timeout": 0.5})
    answer = gw.chat()
    assert answer.ended in ("cut", "reset") and len(answer.body) <= 1800000
    assert gw.entry(answer)["end"] != "complete"


def test_upload_that_is_answered_early(lab):
    """Goal: a provider that streams its whole answer before it has taken a large upload: the client gets it, the gateway lives."""
    def early(conn):
        conn.sock.setblocking(True)
        conn.sock.recv(1000)
        conn.sock.sendall(actions.head(200, {"Content-Type": "text/event-stream", "Connection": "close"}) + b"".join(wire.whole("early")))
        conn.sock.settimeout(10)
        while conn.sock.recv(1) and not left.is_set():
            left.wait(0.02)
    early.unread = True
    left = threading.Event()
    up = lab.upstream(early)
    gw = lab.failover({"p": up})
    answers = []
    for _ in range(3):
        with gw.client() as c:
            c.request("POST", "/v1/chat/completions", (), {"model": "m", "stream": True, "pad": "x" * (12 << 20)})
            answers.append(c.read())
    left.set()
    assert all(a.status == 200 and a.clean and b"early" in a.body and b"[DONE]" in a.body for a in answers), [a.status for a in answers]
    wait_until(lambda: gw.facts("p/p-model").get("inflight") == 0)
    assert len(gw.log_entries(3)) == 3
