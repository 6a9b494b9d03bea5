# SPDX-License-Identifier: MIT
"""
SCENARIOS.tsv, group E: streams that are cut, empty, wrong, split, endless, or read slowly. Each row for clients whose provider speaks as they do, so that
bytes pass, and for those whose events are translated.
"""
import threading

import pytest
from support import actions, wire
from support.gateway import MemoryWatch
from support.speech import Pair
from support.waiting import wait_steady

LEAN = "quarantine_size_mb=1:thread_local_quarantine_size_kb=64"
PAIRS = [Pair("openai", "openai"), Pair("anthropic", "anthropic"), Pair("openai", "anthropic"), Pair("anthropic", "openai"), Pair("openai", "gemini")]
OPENAI = PAIRS[0]
pairs = pytest.mark.parametrize("pair", PAIRS, ids=repr)
memory_pairs = pytest.mark.parametrize("pair", PAIRS[:3], ids=repr)


def read_cut_stream(pair, gw, text, arrived):
    """A stream that its provider cuts when `arrived` is set, which is done once the client has this text: a reset may overtake what was sent."""
    with pair.send(gw) as c:
        answer, events = c.start(), []
        while pair.client.text(events) != text:
            events.append(answer.next_event())
            assert events[-1], f"the stream ended after {pair.client.text(events[:-1])!r}"
        arrived.set()
        return answer, events + answer.events()


def assert_visible_failure(pair, answer, events, text):
    """The content, then an error event, no end marker, and no clean end of the body."""
    assert pair.client.text(events) == text
    assert not pair.client.ended(events)
    assert not answer.clean
    error = events[-1].error
    assert error and error["message"] and ("type" in error or "status" in error)


def assert_whole(pair, answer, events, text):
    assert pair.client.text(events) == text and answer.clean and pair.client.ended(events)
    pair.client.in_order(events)


def assert_error(answer, status=None):
    assert status is None or answer.status == status, answer.body
    assert answer.clean and answer.header("content-type").startswith("application/json")
    assert answer.json()["error"]["message"]


def passed(items):
    return b"".join(i for i in items if isinstance(i, bytes))


@pairs
@pytest.mark.parametrize("end", ["fin", "rst"])
def test_E01_cut_stream(lab, pair, end):
    """Goal: a stream cut after content ends visibly: an error event, no end marker, an aborted body; no fallback."""
    arrived, say = threading.Event(), pair.provider
    p = lab.upstream(actions.stream(*say.opening(), say.piece("one "), say.piece("two "), arrived, end=end))
    f1 = lab.upstream(actions.stream(*pair.whole("never")))
    gw = pair.gateway(lab, {"p": p, "f1": f1})
    answer, events = read_cut_stream(pair, gw, "one two ", arrived)
    assert_visible_failure(pair, answer, events, "one two ")
    assert (p.count, f1.count) == (1, 0)
    entry = gw.entry(answer)
    assert entry["end"] == "upstream_cut" and entry["attempts"][-1]["outcome"] == "stream_broken"


@pairs
@pytest.mark.parametrize("end", ["clean", "fin"])
def test_E02_stream_without_any_event(lab, pair, end):
    """Goal: a 200 that ends before any event is a failure: the client sees the other target's stream only."""
    p, f1 = lab.upstream(actions.stream(end=end)), lab.upstream(actions.stream(*pair.whole("from f1")))
    gw = pair.gateway(lab, {"p": p, "f1": f1})
    assert_whole(pair, *pair.read(gw), "from f1")
    assert (p.count, f1.count) == (1, 1)


@pairs
@pytest.mark.parametrize("said", ["nothing", "opening", "mark", "closing"])
def test_E02_without_a_fallback(lab, pair, said):
    """Goal: with nobody else the client gets an error, not an empty stream; roles and pings are no content."""
    say = pair.provider
    items = {"nothing": [], "opening": say.opening(), "mark": [say.MARK] if say.MARK else [], "closing": [b": ping\n\n", *pair.whole()]}[said]
    p = lab.upstream(actions.stream(*items))
    answer = pair.call(pair.gateway(lab, {"p": p}))
    assert_error(answer, 502)
    assert answer.header("x-should-retry") == "false"
    assert answer.trail == [("p/p-model", "empty_response", 200)]


@pairs
def test_E03_clean_end_without_end_marker(lab, pair):
    """Goal: an upstream body that ends cleanly without a finish is shown as the failure it is."""
    say = pair.provider
    p = lab.upstream(actions.stream(*say.opening(), say.piece("one "), say.piece("two")))
    gw = pair.gateway(lab, {"p": p})
    answer, events = pair.read(gw)
    assert_visible_failure(pair, answer, events, "one two")
    assert gw.entry(answer)["end"] == "upstream_cut"


@pairs
def test_E03_finish_reason_is_enough(lab, pair):
    """Goal: a reason to stop without an end marker is complete; nothing is appended to it, a translated one is whole."""
    items = pair.whole("one", marked=False)
    gw = pair.gateway(lab, {"p": lab.upstream(actions.stream(*items))})
    answer, events = pair.read(gw)
    assert answer.clean
    if pair.same:
        assert answer.body == passed(items)
    else:
        assert_whole(pair, answer, events, "one")
    assert gw.entry(answer)["end"] == "complete"


@pytest.mark.parametrize("pair", [p for p in PAIRS if p.provider.MARK], ids=repr)
def test_E03_nothing_after_the_end_marker(lab, pair):
    """Goal: what a provider sends after its end marker is not passed on."""
    p = lab.upstream(actions.stream(*pair.whole("one"), pair.provider.piece("surplus")))
    assert_whole(pair, *pair.read(pair.gateway(lab, {"p": p})), "one")


@pairs
@pytest.mark.parametrize("kind", ["OVERLOADED", "LIMITED"])
def test_E05_error_before_content(lab, pair, kind):
    """Goal: an error as first event moves on."""
    say = pair.provider
    p = lab.upstream(actions.stream(*say.opening(), say.failure(getattr(say, kind), "not now")))
    f1 = lab.upstream(actions.stream(*pair.whole("from f1")))
    answer, events = pair.read(pair.gateway(lab, {"p": p, "f1": f1}))
    assert_whole(pair, answer, events, "from f1")
    assert (p.count, f1.count) == (1, 1) and b"not now" not in answer.body
    assert answer.trail[0] == ("p/p-model", "error_event", 200)


@pairs
@pytest.mark.parametrize("kind", ["OVERLOADED", "LIMITED"])
def test_E05_without_a_fallback(lab, pair, kind):
    """Goal: with nobody else the client gets the status that the error's type stands for, and its own object."""
    say = pair.provider
    type_, code, status = getattr(say, kind)
    p = lab.upstream(actions.stream(say.failure((type_, code, status), "it is over")))
    answer = pair.call(pair.gateway(lab, {"p": p}))
    assert_error(answer, status)
    assert answer.json()["error"]["message"] == "it is over"
    assert answer.json()["error"]["type"] == (type_ if pair.same else {
        ("OVERLOADED", "openai"): "server_error", ("OVERLOADED", "anthropic"): "api_error"}.get((kind, pair.client.name), "rate_limit_error"))


@pairs
@pytest.mark.parametrize("end", ["clean", "fin"])
def test_E06_error_after_content(lab, pair, end):
    """Goal: after content the error event is passed on and ends the stream; nobody else is asked."""
    say = pair.provider
    p = lab.upstream(actions.stream(*say.opening(), say.piece("one"), say.failure(say.OVERLOADED, "overloaded just now"), end=end))
    f1 = lab.upstream(actions.stream(*pair.whole("never")))
    answer, events = pair.read(pair.gateway(lab, {"p": p, "f1": f1}))
    assert pair.client.text(events) == "one"
    assert [e.error["message"] for e in events if e.error][0] == "overloaded just now"
    assert not pair.client.ended(events) and not answer.clean
    assert (p.count, f1.count) == (1, 0)


@pairs
def test_E09_no_text_twice(lab, pair):
    """Goal: a reset in the middle never leads to text that appears twice."""
    arrived, say = threading.Event(), pair.provider
    p = lab.upstream(actions.stream(*say.opening(), say.piece("alpha "), say.piece("beta "), arrived, end="rst"))
    f1 = lab.upstream(actions.stream(*pair.whole("alpha ", "beta ", "gamma ")))
    gw = pair.gateway(lab, {"p": p, "f1": f1}, {"retries": 2, "trigger": "any"})
    answer, events = read_cut_stream(pair, gw, "alpha beta ", arrived)
    assert answer.body.count(b"alpha") == 1 and answer.body.count(b"beta") == 1 and b"gamma" not in answer.body
    assert (p.count, f1.count) == (1, 0)


@pairs
@pytest.mark.parametrize("nl", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_E10_one_byte_per_write(lab, pair, nl):
    """Goal: split characters and any line ends arrive as the same bytes, or translated whole; usage is counted right."""
    items = pair.whole("héllo ", "😀 日本", nl=nl, usage=(11, 7))
    p = lab.upstream(actions.stream(*items, one_by_one=True))
    gw = pair.gateway(lab, {"p": p})
    answer, events = pair.read(gw)
    if pair.same:
        assert answer.clean and answer.body == passed(items)
    else:
        assert_whole(pair, answer, events, "héllo 😀 日本")
        assert pair.client.usage(events) == (11, 7)
    entry = gw.entry(answer)
    assert entry["usage"]["input"] == 11 and entry["usage"]["output"] == 7 and entry["end"] == "complete"


@pytest.mark.parametrize("pair", PAIRS[:2], ids=repr)
def test_E10_line_end_split_behind_the_end_marker(lab, pair):
    """Goal: the last byte of the end marker's event is passed on even when it comes by itself."""
    *items, mark = pair.whole("x", nl="\r\n")
    items += [mark[:-1], 0.2, mark[-1:]]
    answer, _ = pair.read(pair.gateway(lab, {"p": lab.upstream(actions.stream(*items))}))
    assert answer.clean and answer.body == passed(items)


@pairs
def test_E12_every_event_at_once(lab, pair):
    """Goal: each event is passed on before the next exists: the provider waits for the client to have it."""
    gates, say = [threading.Semaphore(0) for _ in range(20)], pair.provider
    items = [item for n, gate in enumerate(gates) for item in (say.piece(f"{n} "), gate)]
    p = lab.upstream(actions.stream(*say.opening(), *items, *say.closing()))
    gw = pair.gateway(lab, {"p": p}, text="return failover.run(req, settings)")
    with pair.send(gw) as c:
        answer = c.start()
        for n, gate in enumerate(gates):
            while not (text := pair.client.text([answer.next_event()])):
                pass
            assert text == f"{n} "
            gate.release()
        assert pair.client.ended(answer.events()) and answer.clean


@pairs
def test_E13_error_status_for_a_stream(lab, pair):
    """Goal: an error status is no event stream, although one was asked for."""
    body = pair.provider.error_body("no such model")
    answer = pair.call(pair.gateway(lab, {"p": lab.upstream(actions.answer(404, body))}))
    assert_error(answer, 404)
    if pair.same:
        assert answer.json() == body
    elif pair.client is OPENAI.client:
        assert answer.json()["error"] == {"message": "no such model", "type": "invalid_request_error", "param": None, "code": "model_not_found"}
    else:
        assert answer.json() == {"type": "error", "error": {"type": "not_found_error", "message": "no such model"}}


@pairs
def test_E13_json_for_a_stream(lab, pair):
    """Goal: a 2xx that is no event stream though one was asked for is passed unchanged; to another dialect it is no answer."""
    p = lab.upstream(actions.answer(200, pair.provider.body("plain")))
    answer = pair.call(pair.gateway(lab, {"p": p}))
    if pair.same:
        assert answer.status == 200 and answer.json() == pair.provider.body("plain")
    else:
        assert_error(answer, 502)
        assert answer.trail == [("p/p-model", "invalid_response", 200)]


@memory_pairs
@pytest.mark.parametrize("first", [False, True], ids=["before-content", "after-content"])
def test_E16_line_without_end(lab, pair, first):
    """Goal: 64 MiB without a blank line are stopped by a limit, and memory stays where it was."""
    junk, say = b"data: " + b"x" * 65530, pair.provider

    def pour(call):
        for n in range(1024):
            call.event(junk if n == 0 else b"x" * 65536)
    p = lab.upstream(actions.answer(200, say.body()), actions.stream(*(say.opening() + [say.piece("one ")] if first else []), pour))
    gw = pair.gateway(lab, {"p": p}, asan=LEAN)
    assert pair.call(gw, stream=False).status == 200   # what is allocated once is allocated now
    with MemoryWatch(gw) as memory, pair.send(gw) as c:
        answer = c.start()
        events = answer.events()
    assert memory.rise < 16 << 20
    if first:
        assert_visible_failure(pair, answer, events, "one ")
    else:
        assert answer.status == 502 or not answer.clean


@memory_pairs
def test_E18_slow_reader_holds_the_provider_back(lab, pair):
    """Goal: a client that stops reading stops the provider too, memory stays, and the stream is whole in the end."""
    # What a translated stream may say is limited (MAX_TRANSLATED_STREAM): these characters are six times as long in JSON.
    text, n = ("y" * 16384, 3072) if pair.same else ("\x01" * 600, 5000)
    p = lab.upstream(actions.stream(*pair.whole(*[text] * n)), sndbuf=65536)
    gw = pair.gateway(lab, {"p": p}, {"idle_timeout": 0}, asan=LEAN)
    with pair.send(gw, rcvbuf=65536) as c, MemoryWatch(gw) as memory:
        answer = c.start()
        assert answer.status == 200
        held = wait_steady(lambda: p.calls[0].bytes_sent)
        assert 65536 < held < (30e6 if pair.same else 12e6), "the provider was not held back"
        assert not p.calls[0].finished.is_set()
        answer.rest()
    assert answer.clean
    events = answer.events()
    assert pair.client.text(events) == text * n and pair.client.ended(events)
    assert memory.rise < 16 << 20


@pytest.mark.parametrize("pair", PAIRS[:2], ids=repr)
def test_E_held_events_are_passed_on(lab, pair):
    """Goal: roles, comments and pings held before the first content reach the client as they came."""
    items = [b": hello\n\n", *pair.provider.opening(), b"event: ping\ndata: {}\n\n", *pair.whole("x")[len(pair.provider.opening()):]]
    answer, events = pair.read(pair.gateway(lab, {"p": lab.upstream(actions.stream(*items))}))
    assert answer.clean and answer.body == passed(items)


CONTENT = [
    ("openai", wire.chunk({"reasoning_content": "hm"})), ("openai", wire.chunk({"refusal": "no"})),
    ("openai", wire.chunk({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]})),
    ("anthropic", PAIRS[1].client.thought("hm")), ("anthropic", PAIRS[1].client.call(0, "c1", "f")[1]), ("anthropic", PAIRS[1].client.arguments(-1, "{")),
    ("gemini", PAIRS[4].provider.whole_call("c1", "f", "{}")),
]


@pytest.mark.parametrize("dialect,content", CONTENT, ids=[f"{d}-{n}" for n, (d, _) in enumerate(CONTENT)])
def test_E_what_counts_as_content(lab, dialect, content):
    """Goal: reasoning, refusals and tool calls commit a stream as text does."""
    pair = Pair(dialect, dialect)
    p = lab.upstream(actions.stream(*pair.provider.opening(), content, 0.05, end="fin"))
    f1 = lab.upstream(actions.stream(*pair.whole("never")))
    answer, events = pair.read(pair.gateway(lab, {"p": p, "f1": f1}))
    assert content in [bytes(e.raw) for e in events]
    assert f1.count == 0 and not answer.clean


@pytest.mark.parametrize("pair", PAIRS[:2], ids=repr)
def test_E_malformed_event_after_content(lab, pair):
    """Goal: an event that is no JSON is passed on, and does not end the stream by itself."""
    first, *closing = pair.whole("a", "b")[len(pair.provider.opening()) + 1:]
    items = [*pair.provider.opening(), pair.provider.piece("a"), b"data: {not json\n\n", first, *closing]
    answer, events = pair.read(pair.gateway(lab, {"p": lab.upstream(actions.stream(*items))}))
    assert answer.body == passed(items) and answer.clean


@pairs
def test_E_stream_closed_by_connection(lab, pair):
    """Goal: a stream framed by the end of the connection is complete when its end marker was shown, else cut."""
    say = pair.provider
    p = lab.upstream(actions.stream(*pair.whole("whole"), framing="close"),
                     actions.stream(*say.opening(), say.piece("half"), framing="close"))
    gw = pair.gateway(lab, {"p": p})
    assert_whole(pair, *pair.read(gw), "whole")
    assert_visible_failure(pair, *pair.read(gw), "half")
