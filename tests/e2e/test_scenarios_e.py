# SPDX-License-Identifier: MIT
"""SCENARIOS.tsv, group E: streams that are cut, empty, wrong, split, endless, or read slowly."""
import json
import threading

import pytest
from support import actions, wire
from support.client import Client, assert_openai_error, chat_body
from support.gateway import MemoryWatch
from support.waiting import wait_steady, wait_until

LEAN = "quarantine_size_mb=1:thread_local_quarantine_size_kb=64"


def read_stream(gw, **more):
    with gw.open_chat(**more) as c:
        answer = c.start()
        assert answer.status == 200 and answer.header("content-type").startswith("text/event-stream")
        return answer, answer.events()


def read_cut_stream(gw, text, arrived):
    """A stream that its provider cuts when `arrived` is set, which is done once the client has this text: a reset may overtake what was sent."""
    with gw.open_chat() as c:
        answer, events = c.start(), []
        while wire.text_of(events) != text:
            events.append(answer.next_event())
            assert events[-1], f"the stream ended after {wire.text_of(events[:-1])!r}"
        arrived.set()
        return answer, events + answer.events()


def assert_visible_failure(answer, events, text):
    """The content, then an error event, no end marker, and no clean end of the body."""
    assert wire.text_of(events) == text
    assert not any(e.done for e in events)
    assert not answer.clean
    error = events[-1].error
    assert error and error["message"] and "type" in error


def assert_whole(answer, events, text):
    assert wire.text_of(events) == text and events[-1].done and answer.clean


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_E01_cut_stream(lab, end):
    """Goal: a stream cut after content ends visibly: an error event, no [DONE], an aborted body; no fallback."""
    arrived = threading.Event()
    p = lab.upstream(actions.stream(wire.role(), wire.delta("one "), wire.delta("two "), arrived, end=end))
    f1 = lab.upstream(actions.talk("never"))
    gw = lab.failover({"p": p, "f1": f1})
    answer, events = read_cut_stream(gw, "one two ", arrived)
    assert_visible_failure(answer, events, "one two ")
    assert (p.count, f1.count) == (1, 0)
    entry = gw.entry(answer)
    assert entry["end"] == "upstream_cut" and entry["attempts"][-1]["outcome"] == "stream_broken"


@pytest.mark.parametrize("end", ["clean", "fin"])
def test_E02_stream_without_any_event(lab, end):
    """Goal: a 200 that ends before any event is a failure: the client sees the other target's stream only."""
    p, f1 = lab.upstream(actions.stream(end=end)), lab.upstream(actions.talk("from f1"))
    gw = lab.failover({"p": p, "f1": f1})
    assert_whole(*read_stream(gw), "from f1")
    assert (p.count, f1.count) == (1, 1)


@pytest.mark.parametrize("items", [[], [wire.role()], [wire.DONE], [b": ping\n\n", wire.role(), wire.finish(), wire.DONE]])
def test_E02_without_a_fallback(lab, items):
    """Goal: with nobody else the client gets an error, not an empty stream; roles and pings are no content."""
    p = lab.upstream(actions.stream(*items))
    answer = lab.failover({"p": p}).chat(stream=True)
    assert_openai_error(answer, 502)
    assert answer.header("x-should-retry") == "false"
    assert answer.trail == [("p/p-model", "empty_response", 200)]


def test_E03_clean_end_without_end_marker(lab):
    """Goal: an upstream body that ends cleanly without a finish is shown as the failure it is."""
    p = lab.upstream(actions.stream(wire.delta("one "), wire.delta("two")))
    gw = lab.failover({"p": p})
    answer, events = read_stream(gw)
    assert_visible_failure(answer, events, "one two")
    assert gw.entry(answer)["end"] == "upstream_cut"


def test_E03_finish_reason_is_enough(lab):
    """Goal: a finish reason without [DONE] is complete; nothing is appended to it."""
    items = [wire.delta("one"), wire.finish()]
    p = lab.upstream(actions.stream(*items))
    gw = lab.failover({"p": p})
    answer, events = read_stream(gw)
    assert answer.clean and answer.body == b"".join(items)
    assert gw.entry(answer)["end"] == "complete"


def test_E03_nothing_after_the_end_marker(lab):
    """Goal: what a provider sends after its end marker is not passed on."""
    p = lab.upstream(actions.stream(*wire.whole("one"), wire.delta("surplus")))
    answer, events = read_stream(lab.failover({"p": p}))
    assert answer.clean and wire.text_of(events) == "one" and events[-1].done


def test_E05_error_before_content(lab):
    """Goal: an error as first event moves on."""
    p = lab.upstream(actions.stream(wire.role(), wire.error_event("Rate limit reached", "rate_limit_error",
                                                                  "rate_limit_exceeded")))
    f1 = lab.upstream(actions.talk("from f1"))
    assert_whole(*read_stream(lab.failover({"p": p, "f1": f1})), "from f1")
    assert (p.count, f1.count) == (1, 1)


@pytest.mark.parametrize("type,code,status", [("rate_limit_error", "rate_limit_exceeded", 429),
                                              ("server_error", None, 500)])
def test_E05_without_a_fallback(lab, type, code, status):
    """Goal: with nobody else the client gets the status that the error's type stands for, and its own object."""
    p = lab.upstream(actions.stream(wire.error_event("it is over", type, code)))
    answer = lab.failover({"p": p}).chat(stream=True)
    assert answer.status == status
    assert answer.json()["error"]["message"] == "it is over" and answer.json()["error"]["type"] == type
    assert answer.header("content-type").startswith("application/json")


@pytest.mark.parametrize("end", ["clean", "fin"])
def test_E06_error_after_content(lab, end):
    """Goal: after content the error event is passed on and ends the stream; nobody else is asked."""
    p = lab.upstream(actions.stream(wire.delta("one"), wire.error_event("overloaded", "server_error"), end=end))
    f1 = lab.upstream(actions.talk("never"))
    answer, events = read_stream(lab.failover({"p": p, "f1": f1}))
    assert wire.text_of(events) == "one"
    assert "overloaded" in [e.error["message"] for e in events if e.error]
    assert not any(e.done for e in events) and not answer.clean
    assert (p.count, f1.count) == (1, 0)


def test_E09_no_text_twice(lab):
    """Goal: a reset in the middle never leads to text that appears twice."""
    arrived = threading.Event()
    p = lab.upstream(actions.stream(wire.delta("alpha "), wire.delta("beta "), arrived, end="rst"))
    f1 = lab.upstream(actions.talk("alpha ", "beta ", "gamma "))
    answer, events = read_cut_stream(lab.failover({"p": p, "f1": f1}, {"retries": 2, "trigger": "any"}), "alpha beta ", arrived)
    text = wire.text_of(events)
    assert text.count("alpha") == 1 and text.count("beta") == 1 and "gamma" not in text
    assert (p.count, f1.count) == (1, 0)


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\r\r"], ids=["lf", "crlf", "cr"])
def test_E10_one_byte_per_write(lab, end):
    """Goal: split characters and any line ends arrive as the same bytes, and usage is counted right."""
    items = [wire.role(end), wire.delta("héllo ", end), wire.delta("😀 日本", end), wire.finish(end=end),
             wire.usage(11, 7, end), f"data: [DONE]{end}".encode()]
    p = lab.upstream(actions.stream(*items, one_by_one=True))
    gw = lab.failover({"p": p})
    answer, events = read_stream(gw)
    assert answer.clean and answer.body == b"".join(items)
    entry = gw.entry(answer)
    assert entry["usage"]["input"] == 11 and entry["usage"]["output"] == 7 and entry["end"] == "complete"


def test_E10_line_end_split_behind_the_end_marker(lab):
    """Goal: the last byte of the end marker's event is passed on even when it comes by itself."""
    items = [wire.delta("x", "\r\n\r\n"), wire.finish(end="\r\n\r\n"), b"data: [DONE]\r\n\r", 0.2, b"\n"]
    p = lab.upstream(actions.stream(*items))
    answer, _ = read_stream(lab.failover({"p": p}))
    assert answer.clean and answer.body == b"".join(i for i in items if isinstance(i, bytes))


def test_E12_every_event_at_once(lab):
    """Goal: each event is passed on before the next exists: the provider waits for the client to have it."""
    gates = [threading.Semaphore(0) for _ in range(20)]
    items = [item for n, gate in enumerate(gates) for item in (wire.delta(f"{n} "), gate)]
    p = lab.upstream(actions.stream(*items, wire.finish(), wire.DONE))
    gw = lab.policy({"p": p}, "return failover.run(req, settings)")
    with gw.open_chat() as c:
        answer = c.start()
        for n, gate in enumerate(gates):
            assert wire.text_of([answer.next_event()]) == f"{n} "
            gate.release()
        assert answer.events()[-1].done and answer.clean


def test_E13_error_status_for_a_stream(lab):
    """Goal: an error status is no event stream, although one was asked for."""
    p = lab.upstream(actions.fail(404, "no such model", "invalid_request_error", "model_not_found"))
    answer = lab.failover({"p": p}).chat(stream=True)
    assert answer.status == 404 and answer.header("content-type").startswith("application/json")
    assert answer.json()["error"]["code"] == "model_not_found" and answer.clean


def test_E13_json_for_a_stream(lab):
    """Goal: a 2xx that is no event stream though one was asked for is passed unchanged."""
    p = lab.upstream(actions.ok("plain"))
    answer = lab.failover({"p": p}).chat(stream=True)
    assert answer.status == 200 and answer.text == "plain"


@pytest.mark.parametrize("first", [[], [wire.delta("one ")]], ids=["before-content", "after-content"])
def test_E16_line_without_end(lab, first):
    """Goal: 64 MiB without a blank line are stopped by a limit, and memory stays where it was."""
    junk = b"data: " + b"x" * 65530

    def pour(call):
        for n in range(1024):
            call.event(junk if n == 0 else b"x" * 65536)
    p = lab.upstream(actions.ok(), actions.stream(*first, pour))
    gw = lab.failover({"p": p}, asan=LEAN)
    assert gw.chat().status == 200   # what is allocated once is allocated now
    with MemoryWatch(gw) as memory, gw.open_chat() as c:
        answer = c.start().rest()
    assert memory.rise < 16 << 20
    if not first:
        assert answer.status == 502 or not answer.clean
    else:
        assert not answer.clean and not answer.body.rstrip().endswith(b"[DONE]")


def test_E18_slow_reader_holds_the_provider_back(lab):
    """Goal: a client that stops reading stops the provider too, memory stays, and the stream is whole in the end."""
    size, n = 16384, 3072
    p = lab.upstream(actions.stream(wire.role(), *[wire.delta("y" * size)] * n, wire.finish(), wire.DONE), sndbuf=65536)
    gw = lab.failover({"p": p}, {"idle_timeout": 0}, asan=LEAN)
    with Client(gw.address, rcvbuf=65536) as c, MemoryWatch(gw) as memory:
        answer = c.request("POST", "/v1/chat/completions", body=chat_body(True)).start()
        assert answer.status == 200
        held = wait_steady(lambda: p.calls[0].bytes_sent)
        assert 65536 < held < 30e6, "the provider was not held back"
        assert not p.calls[0].finished.is_set()
        answer.rest()
    assert answer.clean and answer.body.endswith(wire.DONE)
    assert answer.body.count(b"yyyyyyyyyyyyyyyy") * 16 >= size * n
    assert memory.rise < 16 << 20


def test_E_held_events_are_passed_on(lab):
    """Goal: roles, comments and pings held before the first content reach the client as they came."""
    items = [b": hello\n\n", wire.role(), b"event: ping\ndata: {}\n\n", *wire.whole("x")[1:]]
    p = lab.upstream(actions.stream(*items))
    answer, events = read_stream(lab.failover({"p": p}))
    assert answer.clean and answer.body == b"".join(items)


@pytest.mark.parametrize("content", [{"reasoning_content": "hm"}, {"refusal": "no"},
                                     {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]}])
def test_E_what_counts_as_content(lab, content):
    """Goal: reasoning, refusals and tool calls commit a stream as text does."""
    p = lab.upstream(actions.stream(wire.role(), wire.chunk(content), 0.05, end="fin"))
    f1 = lab.upstream(actions.talk("never"))
    answer, events = read_stream(lab.failover({"p": p, "f1": f1}))
    assert content in [json.loads(e.data)["choices"][0]["delta"] for e in events if '"choices"' in e.data]
    assert f1.count == 0 and not answer.clean


def test_E_malformed_event_after_content(lab):
    """Goal: an event that is no JSON is passed on, and does not end the stream by itself."""
    items = [wire.delta("a"), b"data: {not json\n\n", wire.delta("b"), wire.finish(), wire.DONE]
    p = lab.upstream(actions.stream(*items))
    answer, events = read_stream(lab.failover({"p": p}))
    assert answer.body == b"".join(items) and answer.clean


def test_E_stream_closed_by_connection(lab):
    """Goal: a stream framed by the end of the connection is complete when its end marker was shown, else cut."""
    p = lab.upstream(actions.talk("whole", framing="close"),
                     actions.stream(wire.delta("half"), framing="close"))
    gw = lab.failover({"p": p})
    assert_whole(*read_stream(gw), "whole")
    assert_visible_failure(*read_stream(gw), "half")
