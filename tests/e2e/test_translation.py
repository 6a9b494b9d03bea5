# SPDX-License-Identifier: MIT
"""
Clients of one dialect at providers of another: what is sent, what comes back, whole and streamed; what cannot be said; dialects
that misbehave. The two dialects are the tests' own (support/tongues): `cat` is what clients speak, `dog` is the provider's.
"""
import json
import threading
from pathlib import Path

import pytest
from support import actions, wire
from support.client import Event, call
from support.waiting import wait_until

TONGUES = Path(__file__).parents[1] / "support/tongues"
FILES = {f"lua/dialects/{name}.lua": (TONGUES / f"{name}.lua").read_text() for name in ("cat", "dog")}


def gateway(lab, providers, settings=None, options=None, files=FILES, policies=None, policy="failover", **config):
    """providers: name -> (dialect, upstream)."""
    settings = {"targets": [f"{name}/{name}-model" for name in providers], **(settings or {})}
    return lab.gateway({
        "providers": {name: {"dialect": dialect, "base_url": f"http://{up.address}/v1", "api_key": "bone", **(options or {})}
                      for name, (dialect, up) in providers.items()},
        "routes": [{"name": "chat", "path": "/v1/*", "policy": policy, "settings": settings}], **config,
    }, files=files, policies=policies).start()


def ask(gw, *say, headers=(), target="/v1/cat", **fields):
    return call(gw.address, target=target, headers=headers, body={"model": "m", "say": list(say or ["hi"]), **fields})


def bark(woof="woof", why="stop", **fields):
    return actions.answer(200, {"woof": woof, "why": why, "bones": {"eaten": 3, "left": 2}, **fields})


def event(kind, name=None, **fields):
    return (b"event: %s\n" % name.encode() if name else b"") + b"data: " + wire.dumps({"kind": kind, **fields}) + b"\n\n"


def woofs(*texts):
    return [event("woof", woof=text) for text in texts]


END = [event("why", why="stop"), event("bones", bones={"eaten": 3, "left": 2}), event("sleep")]


def events(answer):
    found = [Event(raw, 0) for raw in answer.body.split(b"\n\n") if raw]
    return [(e.name, json.loads(e.data)) for e in found]


def test_request_and_answer(lab):
    """Goal: the provider is asked in its own dialect, at its own place, with its own fields; the client hears its own."""
    dog = lab.upstream(bark("hello"))
    gw = gateway(lab, {"d": ("dog", dog)})
    answer = ask(gw, "hi", headers=[("cat-version", "9"), ("x-own", "1")], warm=0.5, tools={"big": 123456789012345678901})
    assert answer.status == 200 and answer.header("content-type") == "application/json"
    request = dog.requests[0]
    assert request.method == "POST" and request.target == "/v1/dogs/d-model/bark"
    assert request.body == b'{"bark":["woof: hi"],"heat":0.5,"m":"d-model","tricks":{"big": 123456789012345678901}}'
    assert request.header("x-bone") == "bone" and request.header("dog-version") == "3"
    assert request.header("cat-version") is None and request.header("x-own") == "1"
    assert request.header("content-type") == "application/json"
    got = answer.json()
    assert got.pop("id").startswith("mg-")
    assert got == {"purr": "hello", "stop": "stop", "model": "m", "usage": {"read": 3, "written": 2}}
    entry = gw.entry(answer)
    assert entry["usage"] == {"input": 3, "output": 2} and entry["target"] == "d/d-model"
    assert gw.metric("moongate_translations_total", **{"from": "cat", "to": "dog", "what": "request", "result": "ok"}) == 1
    assert gw.metric("moongate_translations_total", **{"from": "dog", "to": "cat", "what": "answer", "result": "ok"}) == 1


def test_own_dialect_passes_untouched(lab):
    """Goal: a provider of the client's dialect gets the client's bytes, bar the model."""
    cat = lab.upstream(actions.answer(200, {"purr": "prr"}))
    gw = gateway(lab, {"c": ("cat", cat), "d": ("dog", lab.upstream(bark()))})
    body = b'{"say":[ "hi" ],  "model":"m", "odd": 1e2}'
    answer = call(gw.address, target="/v1/cat", body=body, headers=[("content-type", "application/json"), ("cat-version", "9")])
    assert answer.json() == {"purr": "prr"}
    assert cat.requests[0].body == body.replace(b'"m"', b'"c-model"') and cat.requests[0].header("cat-version") == "9"


def test_stream(lab):
    """Goal: each event is translated in the turn it came in; the end comes as the client's dialect wants it."""
    gate = threading.Event()
    dog = lab.upstream(actions.stream(*woofs("a"), gate, *woofs("b", "c" * 6000), *END))
    gw = gateway(lab, {"d": ("dog", dog)})
    with gw.client() as c:
        answer = c.request("POST", "/v1/cat", (), {"model": "m", "say": ["hi"], "stream": True})
        response = answer.start()
        assert response.header("content-type") == "text/event-stream"
        assert json.loads(response.next_event().data)["kind"] == "hello"
        assert json.loads(response.next_event().data)["purr"] == "a"
        gate.set()
        response.rest()
    assert dog.requests[0].target == "/v1/dogs/d-model/bark?flow=1"
    got = events(response)
    assert [name for name, _ in got] == ["hello", "purr", "purr", "purr", "over"]
    assert got[3][1] == {"kind": "purr", "n": 3, "purr": "c" * 6000}
    assert got[4][1] == {"kind": "over", "n": 3, "stop": "stop", "usage": {"read": 3, "written": 2}}
    assert response.clean
    entry = gw.entry(response)
    assert entry["end"] == "complete" and entry["usage"] == {"input": 3, "output": 2}
    assert gw.metric("moongate_translations_total", what="stream", result="ok") == 1


def test_stream_in_one_piece(lab):
    """Goal: an answer that came whole before the gate opened is translated from its first event on."""
    whole = b"".join(woofs("a", "b") + END)
    for framing in ("chunked", "close"):
        gw = gateway(lab, {"d": ("dog", lab.upstream(actions.stream(whole, framing=framing)))})
        answer = ask(gw, stream=True)
        assert [name for name, _ in events(answer)] == ["hello", "purr", "purr", "over"] and answer.clean
        assert gw.entry(answer)["end"] == "complete"


def test_stream_byte_by_byte(lab):
    """Goal: events are found wherever the bytes are cut."""
    gw = gateway(lab, {"d": ("dog", lab.upstream(actions.stream(*woofs("a", "b"), *END, one_by_one=True)))})
    assert [name for name, _ in events(ask(gw, stream=True))] == ["hello", "purr", "purr", "over"]


def test_stream_cut(lab):
    """Goal: a stream that breaks is told in the client's dialect and has no end."""
    gw = gateway(lab, {"d": ("dog", lab.upstream(actions.stream(*woofs("a"), end="fin")))})
    answer = ask(gw, stream=True)
    assert not answer.clean
    name, last = events(answer)[-1]
    assert name == "hiss" and "stream_broken" in last["hiss"]["words"]
    assert gw.entry(answer)["end"] == "upstream_cut"


def test_stream_error_event(lab):
    """Goal: the provider's error event comes in the client's dialect, without the provider's shape."""
    growl = event("growl", growl={"code": "tired", "words": "too many cats"})
    gw = gateway(lab, {"d": ("dog", lab.upstream(actions.stream(*woofs("a"), growl)))})
    answer = ask(gw, stream=True)
    name, last = events(answer)[-1]
    assert name == "hiss" and last["hiss"]["words"] == "too many cats" and b"growl" not in answer.body
    assert gw.entry(answer)["attempts"][0]["outcome"] == "error_event"


def test_error_before_content(lab):
    """Goal: an error event before any content is a failure like others, and the next target answers."""
    growl = event("growl", growl={"code": "tired", "words": "too many cats"})
    gw = gateway(lab, {"d": ("dog", lab.upstream(actions.stream(growl))), "e": ("dog", lab.upstream(actions.stream(*woofs("x"), *END)))})
    answer = ask(gw, stream=True)
    assert answer.trail == [("d/d-model", "error_event", 200), ("e/e-model", "ok", 200)] and answer.clean


def test_whole_errors(lab):
    """Goal: the provider's errors reach the client in its own dialect with their status."""
    dog = lab.upstream(actions.answer(429, {"growl": {"code": "slow", "words": "one bone at a time"}}, headers={"retry-after": "7"}))
    gw = gateway(lab, {"d": ("dog", dog)})
    answer = ask(gw)
    assert answer.status == 429 and answer.json()["hiss"]["words"] == "one bone at a time"
    assert answer.header("retry-after") == "7" and b"growl" not in answer.body


@pytest.mark.parametrize("order", ["cat first", "dog first"])
def test_failover_between_dialects(lab, order):
    """Goal: from a native target to a foreign one and back; the client cannot tell."""
    cat = lab.upstream(actions.answer(500, {"hiss": {"words": "no"}}) if order == "cat first" else actions.answer(200, {"purr": "prr"}))
    dog = lab.upstream(bark("wuff") if order == "cat first" else actions.fail(500))
    providers = {"c": ("cat", cat), "d": ("dog", dog)}
    if order != "cat first":
        providers = dict(reversed(providers.items()))
    gw = gateway(lab, providers)
    answer = ask(gw)
    assert answer.json()["purr"] == ("wuff" if order == "cat first" else "prr")
    assert len(answer.trail) == 2
    if order != "cat first":
        assert json.loads(cat.requests[0].body)["model"] == "c-model"


def test_there_and_back(lab):
    """Goal: foreign, native, foreign in one request: each is asked in its own words, with the policy's own fields."""
    d, c = lab.upstream(actions.fail(500)), lab.upstream(actions.fail(500))
    e = lab.upstream(bark("at last"))
    gw = gateway(lab, {"d": ("dog", d), "c": ("cat", c), "e": ("dog", e)}, {"targets": [
        {"target": "d/x", "set": {"heat": 0.25, "leash": True}, "unset": ["bark"]}, "c/y", "e/z"]})
    answer = ask(gw, "hi", warm=0.5)
    assert answer.json()["purr"] == "at last" and [t for t, _, _ in answer.trail] == ["d/x", "c/y", "e/z"]
    assert d.requests[0].json() == {"m": "x", "heat": 0.25, "leash": True}
    assert c.requests[0].json() == {"model": "y", "say": ["hi"], "warm": 0.5}
    assert e.requests[0].json() == {"m": "z", "bark": ["woof: hi"], "heat": 0.5}


def test_dropped(lab):
    """Goal: what the other side cannot express is told to the log, the client and the policy; nothing else changes."""
    policy = """return { settings = { targets = { type = "targets" } }, handle = function(req, settings)
      local a = req:send(settings.targets[1])
      return req:respond { body = table.concat(a.dropped, "|") .. "!" .. a:json "purr" .. "!" .. #a:body() }
    end }"""
    gw = gateway(lab, {"d": ("dog", lab.upstream(bark()))}, {})
    answer = ask(gw, warm=1.5, mew=True, swish=[1])
    assert answer.status == 200 and sorted(answer.header("x-moongate-dropped").split(",")) == ["mew", "swish", "warm"]
    assert sorted(gw.entry(answer)["attempts"][0]["dropped"]) == ["mew", "swish", "warm"]
    plain = ask(gw)
    assert plain.header("x-moongate-dropped") is None and "dropped" not in gw.entry(plain)["attempts"][0]
    gw = gateway(lab, {"d": ("dog", lab.upstream(bark()))}, policy="own", policies={"own": policy})
    answer = ask(gw, mew=True)
    assert answer.body.startswith(b"mew!woof!") and int(answer.body.split(b"!")[2]) > 40


def test_strict(lab):
    """Goal: strict refuses it with a 400 that names it, sends nothing, blames nobody; another target may be able to."""
    dog, cat = lab.upstream(bark()), lab.upstream(actions.answer(200, {"purr": "prr"}))
    gw = gateway(lab, {"d": ("dog", dog)}, {"strict": True, "suspend": 60})
    answer = ask(gw, mew=True)
    assert answer.status == 400 and "mew" in answer.json()["hiss"]["words"] and dog.count == 0
    assert answer.trail == [("d/d-model", "unsupported", 0)]
    assert gw.entry(answer)["attempts"][0]["class"] == "model"
    assert gw.facts("d/d-model")["failures"] == 0 and not gw.suspended("d/d-model")
    assert ask(gw).status == 200
    gw = gateway(lab, {"d": ("dog", dog), "c": ("cat", cat)}, {"strict": True})
    assert ask(gw, mew=True).trail == [("d/d-model", "unsupported", 0), ("c/c-model", "ok", 200)]


def test_what_cannot_be_asked(lab):
    """Goal: paths that nobody translates, and requests that the dialect refuses, are the outcome `unsupported`."""
    dog = lab.upstream(bark())
    gw = gateway(lab, {"d": ("dog", dog)})
    for target, body, words in (("/v1/cat/nap", {"model": "m"}, "not translated"), ("/v1/cat", {"model": "m"}, "say is missing"),
                                ("/v1/cat", {"model": "m", "say": ["refuse"]}, "dogs do not do that")):
        answer = call(gw.address, target=target, body=body)
        assert answer.status == 400 and words in answer.json()["hiss"]["words"], answer.body
        assert answer.trail == [("d/d-model", "unsupported", 0)]
    assert dog.count == 0
    assert gw.metric("moongate_translations_total", what="request", result="refused") == 2


@pytest.mark.parametrize("how", ["raise", "loop", "hoard", "unwritable"])
def test_requests_that_break_a_dialect(lab, how):
    """Goal: a dialect that raises, loops or eats memory costs its own request, is logged with its line, and nobody else notices."""
    dog = lab.upstream(bark())
    gw = gateway(lab, {"d": ("dog", dog)}, workers=1)
    answer = ask(gw, how)
    assert answer.status == 400 and answer.trail == [("d/d-model", "unsupported", 0)]
    line = gw.wait_log(r"translating a request between cat \(client\) and dog \(provider\) failed \(generation 1")
    assert how == "unwritable" or "lua/dialects/dog.lua:" in str(line) or "dog.lua:" in gw.stderr
    assert ask(gw).json()["purr"] == "woof"
    assert gw.metric("moongate_translations_total", what="request", result="failed") == 1


@pytest.mark.parametrize("how", ["raise", "loop", "hoard"])
def test_answers_that_break_a_dialect(lab, how):
    """Goal: an answer that cannot be translated is an invalid one, and the next target is asked; in a stream it is cut."""
    odd = lab.upstream(bark(odd=how))
    gw = gateway(lab, {"d": ("dog", odd), "e": ("dog", lab.upstream(bark("fine")))}, workers=1)
    answer = ask(gw)
    assert answer.json()["purr"] == "fine"
    assert answer.trail == [("d/d-model", "invalid_response", 200), ("e/e-model", "ok", 200)]
    odd.script(actions.stream(*woofs("a"), event("woof", woof="b", odd=how), *woofs("c"), *END))
    answer = ask(gw, stream=True)
    assert not answer.clean
    assert [name for name, _ in events(answer)] == ["hello", "purr", "hiss"]
    assert "translated" in events(answer)[-1][1]["hiss"]["words"]
    assert gw.entry(answer)["end"] == "upstream_cut"
    assert ask(gw).json()["purr"] == "fine"


def test_end_that_cannot_be_said(lab):
    """Goal: where the end of a stream fails in the client's dialect there is no end: an error event, of one line, and a cut."""
    cat = FILES["lua/dialects/cat.lua"]
    cat = cat.replace('delta.kind == "end" then', 'delta.kind == "end" then\n      emit("half", {})\n      local nothing = nothing.field')
    cat = cat.replace("""'{"hiss":{""", """'{\\n"hiss":{""")
    gw = gateway(lab, {"d": ("dog", lab.upstream(actions.stream(*woofs("a"), *END)))}, files={**FILES, "lua/dialects/cat.lua": cat})
    answer = ask(gw, stream=True)
    assert not answer.clean and [name for name, _ in events(answer)] == ["hello", "purr", "hiss"]
    assert "translated" in events(answer)[-1][1]["hiss"]["words"]
    entry = gw.entry(answer)
    assert entry["end"] == "upstream_cut" and entry["attempts"][0]["outcome"] == "invalid_response"


def test_event_that_failed_half_written(lab):
    """Goal: what a failing emit has begun does not stand in the stream, though the dialect caught the failure."""
    cat = FILES["lua/dialects/cat.lua"]
    cat = cat.replace('delta.kind == "text" then', 'delta.kind == "text" then\n      pcall(emit, "broken", { print })')
    gw = gateway(lab, {"d": ("dog", lab.upstream(actions.stream(*woofs("a"), *END)))}, files={**FILES, "lua/dialects/cat.lua": cat})
    answer = ask(gw, stream=True)
    assert answer.clean and [name for name, _ in events(answer)] == ["hello", "purr", "over"]


@pytest.mark.parametrize("model", [".", ".."])
def test_model_that_is_a_step(lab, model):
    """Goal: no client leads a path of the provider's elsewhere by a model's name."""
    dog = lab.upstream(bark())
    gw = gateway(lab, {"d": ("dog", dog)}, settings={"targets": ["d"]})
    assert call(gw.address, target="/v1/cat", body={"model": model, "say": ["hi"]}).status == 400
    ask(gw, "hi")
    assert len(dog.requests) == 1


def test_answer_that_is_no_json(lab):
    """Goal: garbage of a provider is its failure, not the dialect's crash."""
    dog = lab.upstream(actions.answer(body=b'{"woof": "x", "why"'))
    gw = gateway(lab, {"d": ("dog", dog)})
    assert ask(gw).status == 502
    dog.script(actions.stream(*woofs("a"), b"data: {oops\n\n", *END))
    assert not ask(gw, stream=True).clean


def test_stream_where_none_was_asked_for(lab):
    """Goal: a client without a stream never gets one, and the other way round."""
    dog = lab.upstream(actions.stream(*woofs("a"), *END))
    gw = gateway(lab, {"d": ("dog", dog)})
    assert ask(gw).trail == [("d/d-model", "invalid_response", 200)]
    dog.script(actions.stream(event("why", why="muzzle"), event("sleep")))
    filtered = ask(gw)
    assert filtered.trail == [("d/d-model", "content_filtered", 200)]
    assert filtered.header("content-type") == "application/json"
    dog.script(bark())
    assert ask(gw, stream=True).trail == [("d/d-model", "invalid_response", 200)]


def test_filtered(lab):
    """Goal: an answer that the provider's filter cut is content_filtered, and comes in the client's dialect when it is handed over."""
    gw = gateway(lab, {"d": ("dog", lab.upstream(bark("", "muzzle")))})
    answer = ask(gw)
    assert answer.trail == [("d/d-model", "content_filtered", 200)]
    assert answer.status == 200 and answer.json()["stop"] == "muzzle"


def test_large_image(lab):
    """Goal: 8 MB of image go through both ways; the Lua state stays small."""
    dog = lab.upstream(bark("x" * 3_000_000))
    gw = gateway(lab, {"d": ("dog", dog)}, workers=1)
    image = "iVBOR" * 1_600_000
    answer = ask(gw, "look", {"image": image})
    assert answer.json()["purr"] == "x" * 3_000_000
    assert dog.requests[0].json()["bark"][1] == {"picture": image}
    generations = gw.api("GET", "/admin/v1/generations").json()
    used = json.dumps(generations)
    assert used
    for _ in range(5):
        assert ask(gw, "look", {"image": image}).status == 200


def test_answer_too_long(lab):
    """Goal: what is too long to be held whole is no answer."""
    dog = lab.upstream(bark("x" * (18 << 20)))
    gw = gateway(lab, {"d": ("dog", dog)})
    answer = ask(gw)
    assert answer.trail == [("d/d-model", "limit_exceeded", 200)]


def test_stream_that_says_too_much(lab):
    """Goal: what a writer may hold back is bounded: beyond 4 MiB of text the stream is broken off."""
    dog = lab.upstream(actions.stream(*woofs(*["x" * 500_000] * 9), *END))
    gw = gateway(lab, {"d": ("dog", dog)})
    answer = ask(gw, stream=True)
    assert not answer.clean and "limit_exceeded" in events(answer)[-1][1]["hiss"]["words"]
    assert gw.entry(answer)["end"] == "limit"


def test_client_gone_in_mid_stream(lab):
    """Goal: a client that leaves ends the provider's stream too."""
    gate = threading.Event()
    dog = lab.upstream(actions.stream(*woofs("a"), gate, end="keep_open"))
    gw = gateway(lab, {"d": ("dog", dog)})
    with gw.client() as c:
        response = c.request("POST", "/v1/cat", (), {"model": "m", "say": ["hi"], "stream": True}).start()
        response.next_event()
        c.abort()
    wait_until(lambda: dog.calls[0].ended == "gone" or dog.open_connections == 0, "the provider to be left")


def test_reload_while_a_stream_flows(lab):
    """Goal: a stream keeps the functions it began with; requests after the reload have the new ones; the old generation goes."""
    gate = threading.Event()
    dog = lab.upstream(actions.stream(*woofs("a"), gate, *woofs("b"), *END))
    gw = gateway(lab, {"d": ("dog", dog)})
    with gw.client() as c:
        response = c.request("POST", "/v1/cat", (), {"model": "m", "say": ["hi"], "stream": True}).start()
        response.next_event()
        response.next_event()
        gw.write("lua/dialects/cat.lua", FILES["lua/dialects/cat.lua"].replace('emit("purr"', 'emit("meow"'))
        gw.reload()
        gate.set()
        response.rest()
    assert [name for name, _ in events(response)] == ["hello", "purr", "purr", "over"] and response.clean
    assert [name for name, _ in events(ask(gw, stream=True))] == ["hello", "meow", "meow", "over"]
    wait_until(lambda: gw.metric("moongate_generations_draining") in (0, None), "the old generation to go")


def test_seals(lab):
    """Goal: another maker's signature is taken out where the client's own provider would choke on it; all else is byte for byte."""
    cat = lab.upstream(actions.answer(200, {"purr": "prr"}))
    gw = gateway(lab, {"c": ("cat", cat), "d": ("dog", lab.upstream(bark()))})
    image = {"image": "abc", "sig": "moongatecat_own"}
    ask(gw, "hi", image)
    ask(gw, "hi", {**image, "sig": "moongatedog_theirs"})
    assert cat.requests[0].json()["say"][1]["image"] == "abc"
    assert "sig" not in cat.requests[1].json()["say"][1]
    ask(gw, 'he said "moongate is shut"')
    assert cat.requests[2].json()["say"] == ['he said "moongate is shut"']
    # what is no conversation is never read, whatever a text of it begins like
    call(gw.address, target="/v1/cat-vectors", headers=[("cat-version", "9")], body=(plain := b'{"model":"m", "of":"moongatekeepers" }'))
    assert cat.requests[3].body == plain.replace(b'"m"', b'"c-model"')


def test_large_request_that_is_not_read(lab):
    """Goal: a provider that leaves while a translated request is still on its way costs nothing but the attempt."""
    gw = gateway(lab, {"d": ("dog", lab.upstream(actions.close_unread())), "e": ("dog", lab.upstream(bark("read")))})
    image = "iVBOR" * 1_600_000
    for _ in range(3):
        answer = ask(gw, "look", {"image": image})
        assert answer.json()["purr"] == "read" and answer.trail[0][1] != "ok"
