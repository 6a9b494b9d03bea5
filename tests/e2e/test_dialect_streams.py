# SPDX-License-Identifier: MIT
"""Streams between all dialects, as clients see them: what comes when, in which order, how it ends, and what it costs the gateway."""
import threading

import pytest
from support import actions
from support.gateway import MemoryWatch
from support.speech import DIALECTS, Pair, sse, values
from support.waiting import wait_until

PAIRS = [Pair(client, provider) for client in DIALECTS for provider in DIALECTS if client != provider]
LEAN = "quarantine_size_mb=1:thread_local_quarantine_size_kb=64"
ARGUMENTS = ['{"place": "the ', "north wall", '", "depth": 2}']
pairs = pytest.mark.parametrize("pair", PAIRS, ids=repr)


def by(*clients):
    """Pairs of these clients."""
    return pytest.mark.parametrize("pair", [p for p in PAIRS if repr(p) in clients], ids=repr)


def one_call(say, number, id, name, pieces):
    if say.name == "gemini":
        return [say.whole_call(id, name, "".join(pieces))]
    return [*say.call(number, id, name), *[say.arguments(number, p) for p in pieces]]


@pairs
def test_pieces_arrive_as_they_come(lab, pair):
    """Goal: text and arguments of a call reach the client in the pieces that the provider made, each before the next one exists."""
    say, hear = pair.provider, pair.client
    gates = [threading.Event() for _ in range(6)]
    made = [e for e in one_call(say, 0, "call_1", "look", ARGUMENTS) if b"content_block_stop" not in e]
    steps = [say.piece("Let "), say.piece("me look."), *made[-3:]]
    items = [item for event, gate in zip(steps, gates) for item in (event, gate)]
    before = one_call(say, 0, "call_1", "look", ARGUMENTS)[:-3]
    items[4:4] = before
    p = lab.upstream(actions.stream(*say.opening(), *items, *say.closing("calls", last=1)))
    gw = pair.gateway(lab, {"p": p})
    with pair.send(gw) as c:
        answer, events = c.start(), []

        def until(condition):
            while not condition():
                events.append(answer.next_event())
                assert events[-1], f"the stream ended: {bytes(answer.body)!r:.2000}"
        for n, text in enumerate(("Let ", "Let me look.")):
            until(lambda: hear.text(events) == text)
            gates[n].set()
        whole = "gemini" in (say.name, hear.name)    # its calls are not in pieces
        if whole and hear.name != "gemini":
            until(lambda: hear.calls(events) and "".join(hear.calls(events)[0][1]).startswith('{"'))
        for n in range(3):
            if not whole:
                until(lambda: hear.calls(events) == [("look", ARGUMENTS[:n + 1])])
            gates[2 + n].set()
        events += answer.events()
    assert answer.clean and hear.ended(events)
    assert [(name, "".join(said).replace(" ", "")) for name, said in hear.calls(events)] == [("look", "".join(ARGUMENTS).replace(" ", ""))]
    assert gw.entry(answer)["end"] == "complete"


@pairs
def test_life_cycle(lab, pair):
    """Goal: a text and two calls, whose pieces may be mixed, come with the events and in the order that the client's dialect has; usage is at the end."""
    say, hear = pair.provider, pair.client
    calls = [one_call(say, n, f"call_{n}", name, pieces) for n, (name, pieces) in enumerate([("look", ARGUMENTS), ("count", ['{"what":', '"stones"}'])])]
    if say.name in ("openai", "responses"):      # both begin, then each goes on
        a, b = calls
        calls = [[a[0], b[0]], a[1:3], b[1:2], a[3:], b[2:]]
    p = lab.upstream(actions.stream(*say.opening(), say.piece("Let me look."), *sum(calls, []), *say.closing("calls", (12, 9), last=2)))
    gw = pair.gateway(lab, {"p": p})
    answer, events = pair.read(gw)
    assert answer.clean
    hear.in_order(events)
    assert hear.text(events) == "Let me look."
    assert [(name, "".join(said).replace(" ", "")) for name, said in hear.calls(events)] == \
        [("look", "".join(ARGUMENTS).replace(" ", "")), ("count", '{"what":"stones"}')]
    assert hear.usage(events) == (12, 9) and hear.usage(events[:-3]) in (None, (0, 0))
    assert gw.entry(answer)["usage"] == {"input": 12, "output": 9}


def error_of(client, type_, code, number, message):
    return {
        "openai": {"error": {"message": message, "type": type_["openai"], "param": None, "code": code}},
        "anthropic": {"type": "error", "error": {"type": type_["anthropic"], "message": message}},
        "gemini": {"error": {"code": number, "message": message, "status": type_["gemini"]}},
        "responses": {"message": message, "type": type_["openai"], "param": None, "code": code},
    }[client.name]


OVERLOADED = {"openai": "server_error", "anthropic": "overloaded_error", "gemini": "UNAVAILABLE"}
BROKEN = {"openai": "server_error", "anthropic": "api_error", "gemini": "INTERNAL"}
LIMITED = {"openai": "rate_limit_error", "anthropic": "rate_limit_error", "gemini": "RESOURCE_EXHAUSTED"}


@pairs
@pytest.mark.parametrize("kind", ["OVERLOADED", "LIMITED"])
def test_error_in_mid_stream(lab, pair, kind):
    """Goal: an error event of the provider's is one of the client's own, as its SDKs raise it, with the provider's words and nothing of its shape."""
    say = pair.provider
    failure = getattr(say, kind)
    p = lab.upstream(actions.stream(*say.opening(), say.piece("half"), say.failure(failure, "too many gardens")))
    gw = pair.gateway(lab, {"p": p})
    answer, events = pair.read(gw)
    assert pair.client.text(events) == "half" and not answer.clean and not pair.client.ended(events)
    overloaded = say.name in ("anthropic", "gemini")     # OpenAI has no word for it
    type_, code = (LIMITED, "rate_limit_exceeded") if kind == "LIMITED" else (OVERLOADED, "overloaded") if overloaded else (BROKEN, None)
    last = values(events[-1:])[0]
    if pair.client.name == "responses":
        assert events[-1].name == last["type"] == "response.failed" and last["response"]["error"]["message"] == "too many gardens"
        last = last["error"]
    wanted = error_of(pair.client, type_, code, failure[2], "too many gardens")
    if code is None and "code" in (last.get("error") or last) and pair.client.name != "gemini":
        (last.get("error") or last)["code"] = None
    if kind == "OVERLOADED" and pair.client.name == "gemini":
        assert last["error"].pop("code") >= 500 and wanted["error"].pop("code")
    assert last == wanted
    assert events[-1].name == {"anthropic": "error", "responses": "response.failed"}.get(pair.client.name, "")
    assert gw.entry(answer)["attempts"][0]["outcome"] == "error_event"


@pairs
def test_error_before_content_moves_on_to_the_client_s_own_dialect(lab, pair):
    """Goal: an error inside a 200 starts a failover as long as nothing was said; the next provider, of the client's dialect, is passed as it is."""
    say, own = pair.provider, Pair(pair.client.name, pair.client.name)
    first = lab.upstream(actions.stream(*say.opening(), say.failure(say.OVERLOADED, "not now")))
    items = own.whole("from f1")
    second = lab.upstream(actions.stream(*items))
    second.options = {"dialect": own.client.name, "speaks": [own.client.name]}
    gw = pair.gateway(lab, {"p": first, "f1": second})
    answer, _ = pair.read(gw)
    assert answer.clean and answer.body == b"".join(items)
    assert answer.trail == [("p/p-model", "error_event", 200), ("f1/f1-model", "ok", 200)]


FILTERED = {"openai": "content_filter", "responses": "content_filter", "anthropic": "refusal", "gemini": "SAFETY"}


@pairs
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_refusal(lab, pair, stream):
    """Goal: a refusal that says nothing is intercepted: another target answers; with nobody else the client is told in its own word for it."""
    say = pair.provider

    def provider(text, stop):
        if not stream:
            return lab.upstream(actions.answer(200, say.body(text, stop)))
        opening = say.opening()[:2] if say.name in ("anthropic", "responses") and not text else say.opening()
        closing = say.closing(stop)
        return lab.upstream(actions.stream(*opening, *([say.piece(text)] if text else []), *(closing[1:] if say.name == "anthropic" and not text else closing)))
    p, f1 = provider("", "filter"), provider("from f1", "stop")
    answer = pair.call(pair.gateway(lab, {"p": p, "f1": f1}), stream)
    assert answer.trail == [("p/p-model", "content_filtered", 200), ("f1/f1-model", "ok", 200)] and b"from f1" in answer.body
    answer = pair.call(pair.gateway(lab, {"p": p}), stream)
    assert answer.trail == [("p/p-model", "content_filtered", 200)] and answer.status == 200 and answer.clean
    assert f'"{FILTERED[pair.client.name]}"'.encode() in answer.body
    if not stream:
        assert pair.client.stop(answer.json()) == FILTERED[pair.client.name]


@by("openai-over-anthropic", "anthropic-over-openai", "responses-over-anthropic", "gemini-over-openai")
@pytest.mark.parametrize("what", ["text", "arguments"])
def test_endless_stream(lab, pair, what):
    """Goal: a provider that never ends is stopped by a limit, visibly, and memory stays where it was."""
    say = pair.provider

    def pour(call):
        while True:
            call.event(say.piece("on and on " * 300) if what == "text" else say.arguments(0, "1, " * 1000))
    first = [] if what == "text" else [say.piece("a"), *say.call(0, "call_1", "look"), say.arguments(0, '{"a": [')]
    p = lab.upstream(actions.answer(200, say.body()), actions.stream(*say.opening(), *first, pour))
    gw = pair.gateway(lab, {"p": p}, asan=LEAN)
    assert pair.call(gw, stream=False).status == 200
    with MemoryWatch(gw) as memory:
        answer, events = pair.read(gw)
    assert not answer.clean and not pair.client.ended(events) and "limit_exceeded" in events[-1].data
    assert gw.entry(answer)["end"] == "limit"
    wait_until(lambda: p.calls[-1].ended == "gone", "the provider to be left")
    assert memory.rise < 40 << 20


@by("openai-over-anthropic", "anthropic-over-gemini", "responses-over-anthropic", "gemini-over-responses")
def test_client_gone_in_mid_stream(lab, pair):
    """Goal: a client that leaves cancels the provider's stream, and leaves no trace."""
    say = pair.provider
    p = lab.upstream(actions.stream(*say.opening(), say.piece("half"), end="keep_open"))
    gw = pair.gateway(lab, {"p": p})
    with pair.send(gw) as c:
        answer, events = c.start(), []
        while pair.client.text(events) != "half":
            events.append(answer.next_event())
        c.abort()
    wait_until(lambda: p.calls[0].ended == "gone", "the provider to be left")
    assert gw.entry(answer)["end"] == "client_gone"


@pairs
def test_long_stream_ends_whole(lab, pair):
    """Goal: a stream as long as may be, in pieces of every length, comes whole and ends well, also where the end repeats all that was said."""
    say, texts = pair.provider, ["é" * 1500, "\n" * 5000, "x"] * 300
    p = lab.upstream(actions.stream(*say.opening(), *[say.piece(t) for t in texts], *say.closing()))
    answer, events = pair.read(pair.gateway(lab, {"p": p}))
    assert answer.clean and pair.client.text(events) == "".join(texts)
    pair.client.in_order(events)


@by("openai-over-anthropic", "anthropic-over-openai", "gemini-over-responses")
def test_long_arguments(lab, pair):
    """Goal: so do the arguments of a call."""
    say, pieces = pair.provider, ['{"a": "', *["moss " * 700] * 500, '"}']
    p = lab.upstream(actions.stream(*say.opening(), say.piece("x"), *one_call(say, 0, "call_1", "look", pieces), *say.closing("calls", last=1)))
    answer, events = pair.read(pair.gateway(lab, {"p": p}))
    assert answer.clean and [(n, "".join(a)) for n, a in pair.client.calls(events)] == [("look", "".join(pieces))]
    pair.client.in_order(events)


@by("openai-over-anthropic", "anthropic-over-gemini", "responses-over-anthropic", "gemini-over-openai")
def test_many_streams_at_once(lab, pair):
    """Goal: streams that one worker translates side by side know nothing of each other."""
    say, gates = pair.provider, [threading.Semaphore(0) for _ in range(3)]

    def speak(call):
        mine = call.request.number
        events = [*say.opening(), *[item for n, gate in enumerate(gates) for item in (gate, say.piece(f"{mine}-{n} "))]]
        actions.stream(*events, *say.closing(usage=(mine, mine)))(call)
    p = lab.upstream(speak)
    gw = pair.gateway(lab, {"p": p}, config={"workers": 1})
    clients = [pair.send(gw) for _ in range(12)]
    wait_until(lambda: p.count == len(clients), "all to be asked")
    for gate in gates:
        for _ in clients:
            gate.release()
    seen = set()
    for c in clients:
        answer = c.start()
        events = answer.events()
        pair.client.in_order(events)
        mine, _ = pair.client.usage(events)
        assert pair.client.text(events) == "".join(f"{mine}-{n} " for n in range(3)) and answer.clean
        seen.add(mine)
        c.close()
    assert len(seen) == len(clients)


@by("openai-over-gemini")
def test_two_candidates(lab, pair):
    """Goal: candidates of one stream stay apart, and each has its own end."""
    say = pair.provider

    def event(index, text, stop=None):
        value = say.answer([{"text": text}], stop, (3, 5))
        value["candidates"][0]["index"] = index
        return sse(value)
    p = lab.upstream(actions.stream(event(0, "a"), event(1, "b"), event(0, "c", "STOP"), event(1, "d", "MAX_TOKENS")))
    answer, events = pair.read(pair.gateway(lab, {"p": p}), n=2)
    assert answer.clean and p.requests[0].json()["generationConfig"]["candidateCount"] == 2
    choices = [c for v in values(events) for c in v["choices"]]
    for index, text, reason in ((0, "ac", "stop"), (1, "bd", "length")):
        mine = [c for c in choices if c["index"] == index]
        assert "".join(c["delta"].get("content") or "" for c in mine) == text
        assert [c["finish_reason"] for c in mine if c["finish_reason"]] == [reason] == [mine[-1]["finish_reason"]]
