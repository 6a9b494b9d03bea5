# SPDX-License-Identifier: MIT
"""SCENARIOS.tsv, group H: limits on answers and requests."""
import threading

import pytest
from support import actions, wire
from support.client import assert_openai_error, call
from support.waiting import PATIENCE, fill_queue, wait_until


def test_H01_stream_limited_in_time(lab):
    """Goal: max_seconds ends an endless stream visibly, and its connection is closed, not reused."""
    p = lab.upstream(actions.endless(0.01), actions.ok())
    gw = lab.policy({"p": p}, 'return req:send("p/m", { max_seconds = 0.6 })')
    answer = gw.chat(stream=True)
    events = answer.events()
    assert answer.status == 200 and "tick0" in wire.text_of(events)
    assert events[-1].error and not any(e.done for e in events) and not answer.clean
    assert answer.elapsed >= 0.6
    assert p.calls[0].finished.wait(PATIENCE) and p.calls[0].ended == "gone"
    entry = gw.entry(answer)
    assert entry["end"] == "limit" and entry["attempts"][-1]["outcome"] == "limit_exceeded"
    assert gw.chat().status == 200 and p.requests[1].connection == 2


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_H03_answer_limited_in_size(lab, framing):
    """Goal: an answer larger than max_bytes is a 502, and not one byte of it is passed on."""
    p = lab.upstream(actions.answer(200, body=b'{"x":"' + b"MARK" * 25000 + b'"}', framing=framing))
    gw = lab.policy({"p": p}, 'return req:send("p/m", { max_bytes = 1024 })')
    answer = gw.chat()
    assert_openai_error(answer, 502)
    assert b"MARK" not in answer.body and answer.trail == [("p/m", "limit_exceeded", 200)]


def test_H03_stream_limited_in_size(lab):
    """Goal: a stream that passes max_bytes after content ends visibly."""
    p = lab.upstream(actions.stream(*[wire.delta("x" * 100)] * 100, wire.finish(), wire.DONE))
    gw = lab.policy({"p": p}, 'return req:send("p/m", { max_bytes = 4000 })')
    answer = gw.chat(stream=True)
    assert answer.status == 200 and not answer.clean and len(answer.body) < 8000
    assert not answer.body.rstrip().endswith(b"[DONE]")
    assert gw.entry(answer)["end"] == "limit"


def test_H05_request_limited_in_size(lab):
    """Goal: a body over limits.body is a 413 in the client's dialect, however it is framed; nobody is called."""
    p = lab.upstream(actions.ok())
    gw = lab.failover({"p": p}, config={"limits": {"body": 1024}})
    body = b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * 2000 + b'"}]}'
    json = {"Content-Type": "application/json"}
    assert_openai_error(call(gw.address, body=body, headers=json), 413)
    assert_openai_error(call(gw.address, body=body, headers=json, chunked=True), 413)
    assert p.count == 0
    assert call(gw.address, body=b'{"model":"m","messages":[]}', headers=json).status == 200
    assert call(gw.address, body=b'{"model":"m","messages":[]}', headers=json, chunked=True).status == 200


def test_H_large_plain_answer_streams_on(lab):
    """Goal: an answer beyond what is held (1 MiB) is passed on whole."""
    text = "".join(f"{n:07d}" for n in range(500000))
    p = lab.upstream(actions.ok(text), actions.ok(text, framing="chunked"), actions.ok(text, framing="close"))
    gw = lab.failover({"p": p})
    for _ in range(3):
        answer = gw.chat()
        assert answer.clean and answer.text == text


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_H_large_plain_answer_cut(lab, end):
    """Goal: a large answer that is cut after its commit is cut short for the client too, never padded."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3000000\r\n\r\n"
    p = lab.upstream(actions.raw(head + b"x" * 2000000, end=end))
    gw = lab.failover({"p": p})
    answer = gw.chat()
    assert answer.status in (200, 502)
    assert not answer.clean or answer.status == 502
    assert len(answer.body) <= 2000000


def test_H_queue_is_bounded(lab):
    """Goal: beyond max_inflight and the queue, a request is refused with 503 and Retry-After, blaming nobody."""
    gate = threading.Event()
    p = lab.upstream(actions.ok(gate=gate))
    gw = lab.failover({"p": p}, options={"max_inflight": 1, "queue": 1, "queue_timeout": 100})
    first = gw.open_chat(stream=False)
    wait_until(lambda: p.count == 1)
    second, answer = fill_queue(gw)
    assert_openai_error(answer, 503)
    assert int(answer.header("retry-after")) >= 1
    assert answer.trail == [("p/p-model", "queue_full", 0)]
    gate.set()
    assert first.read().status == 200
    assert second.read().status == 200
    first.close()
    second.close()


def test_H_queue_has_a_deadline(lab):
    """Goal: who waits in the queue for queue_timeout is refused."""
    p = lab.upstream(actions.silence())
    gw = lab.failover({"p": p}, options={"max_inflight": 1, "queue": 4, "queue_timeout": 0.5})
    with gw.open_chat(stream=False):
        wait_until(lambda: p.count == 1)
        answer = gw.chat()
        assert_openai_error(answer, 503)
        assert answer.elapsed >= 0.48 and p.count == 1
