# SPDX-License-Identifier: MIT
"""The policy API as a policy's author meets it: requests, attempts, waiting, and answering by oneself."""
import threading
import time

import pytest
from support import actions, wire
from support.client import assert_openai_error, call
from support.waiting import PATIENCE, wait_until


def told(lab, body, *script, request=None, **more):
    """What a policy whose handler has this body answers as JSON, given one provider with this script."""
    up = lab.upstream(*script) if script else lab.upstream()
    gw = lab.policy({"p": up}, body, **more)
    answer = gw.chat(**(request or {}))
    assert answer.status == 200, (answer.status, answer.body, gw.stderr[-2000:])
    return answer.json()


# The request.

def test_request_fields(lab):
    """Goal: every field of req, as the request was."""
    gw = lab.policy({"p": lab.upstream()}, """
    return req:respond { json = { id = req.id, method = req.method, path = req.path, model = req.model,
      stream = req.stream, key = req.key, environment = req.environment, body_size = req.body_size,
      elapsed = req.elapsed, remaining = req.remaining < 1e9 and req.remaining or "none", attempts = #req.attempts } }
""", config={"keys": [{"name": "app", "secret": "secret-of-app", "environment": "production"}]})
    body = wire.dumps({"model": "gpt", "stream": True, "messages": []})
    answer = call(gw.address, body=body, headers={"x-api-key": "secret-of-app", "Content-Type": "application/json"})
    got = answer.json()
    assert got["id"] == answer.header("x-moongate-request-id") == gw.entry(answer)["id"]
    assert (got["method"], got["path"], got["model"], got["stream"]) == ("POST", "/v1/chat/completions", "gpt", True)
    assert (got["key"], got["environment"], got["body_size"], got["attempts"]) == ("app", "production", len(body), 0)
    assert 0 <= got["elapsed"] < 60
    assert got["remaining"] == "none" or got["remaining"] > 0


def test_request_without_key_or_model(lab):
    """Goal: what a request does not have is nil."""
    gw = lab.policy({"p": lab.upstream()}, """
    return req:respond { json = { key = req.key == nil, model = req.model == nil, stream = req.stream } }
""")
    assert call(gw.address, "GET", "/v1/files").json() == {"key": True, "model": True, "stream": False}


def test_request_header_and_json(lab):
    """Goal: headers by any case; JSON fields by dotted path with zero-based indexes."""
    got = told(lab, """
    return req:respond { json = { h = req:header("X-ODD"), none = req:header("x-none") == nil,
      role = req:json("messages.0.role"), text = req:json("messages.1.content"), n = req:json("n"), t = req:json("flag"),
      gone = req:json("no.such.thing") == nil, out = req:json("messages.7") == nil, deep = req:json("a.b.c"),
      null = req:json("nothing") == nil } }
""", request={"headers": {"x-oDD": "value"}, "body": {
        "model": "m", "n": 3, "flag": False, "nothing": None, "a": {"b": {"c": "é\n😀"}},
        "messages": [{"role": "user"}, {"content": "two"}]}})
    assert got == {"h": "value", "none": True, "role": "user", "text": "two", "n": 3, "t": False, "gone": True,
                   "out": True, "deep": "é\n😀", "null": True}


def test_ctx_is_scratch_and_the_rest_is_read_only(lab):
    """Goal: req.ctx keeps what is put there; req, settings and the libraries cannot be written."""
    got = told(lab, """
    req.ctx.x = { 1, 2 }
    local function refused(f) return not pcall(f) end
    return req:respond { json = { x = #req.ctx.x, req = refused(function() req.model = "y" end),
      settings = refused(function() settings.suspend = 9 end),
      deep = refused(function() settings.targets[1] = "y" end),
      module = refused(function() moongate.now = 1 end), lib = refused(function() string.rep = 1 end),
      global = refused(function() some_global = 1 end), unknown = refused(function() return no_such_global end) } }
""")
    assert got == dict.fromkeys(got, True) | {"x": 2}


def test_settings_are_tables(lab):
    """Goal: settings can be walked, measured and copied."""
    got = told(lab, """
    local names, n = {}, 0
    for k in pairs(settings) do n = n + 1 end
    for i, t in ipairs(settings.targets) do names[i] = type(t) == "table" and t.target or t end
    local copy = moongate.merge(settings, { suspend = 7 })
    copy.retries = 3
    return req:respond { json = { names = names, many = n > 5, copy = copy.suspend, own = copy.retries,
      old = settings.suspend, length = #settings.targets } }
""")
    assert got == {"names": ["p/p-model"], "many": True, "copy": 7, "own": 3, "old": 0, "length": 1}


def test_sandbox(lab):
    """Goal: nothing that reaches outside is there; what the design lists is."""
    got = told(lab, """
    local there, gone = {}, {}
    for _, name in ipairs { "os", "io", "debug", "coroutine", "package", "load", "dofile", "loadfile", "collectgarbage" } do
      local ok, value = pcall(function() return _ENV[name] end)
      gone[#gone + 1] = not ok or value == nil
    end
    for _, name in ipairs { "string", "table", "math", "utf8", "pcall", "pairs", "select", "tostring" } do
      there[#there + 1] = _ENV[name] ~= nil
    end
    return req:respond { json = { there = there, gone = gone } }
""")
    assert all(got["there"]) and len(got["there"]) == 8
    assert all(got["gone"]) and len(got["gone"]) == 9


# Attempts.

def test_attempt_of_an_answer(lab):
    """Goal: the fields of an attempt that succeeded."""
    got = told(lab, """
    local a = req:send("p/m", {})
    return req:respond { json = { target = a.target, n = a.n, ok = a.ok, outcome = a.outcome, class = a.class == nil,
      status = a.status, header = a:header("X-Some"), sent = a.sent, reused = a.reused, text = a:json("choices.0.message.content"),
      body = #a:body(), after = a.retry_after == nil, total = a.time.total, first = a.time.first_byte,
      queue = a.time.queue, connect = a.time.connect, attempts = #req.attempts } }
""", actions.ok("hello", headers={"x-some": "thing"}, delay=0.2))
    assert got["total"] >= 0.19 and got["first"] >= 0.19 and got["queue"] >= 0 and got["connect"] >= 0
    for name in ("total", "first", "queue", "connect"):
        del got[name]
    assert got == {"target": "p/m", "n": 1, "ok": True, "outcome": "ok", "class": True, "status": 200, "header": "thing",
                   "sent": "all", "reused": False, "text": "hello", "after": True, "attempts": 1,
                   "body": len(wire.dumps(wire.completion("hello")))}


FACTS = """
    local a = req:send("p/m", { total = 0.6 })
    return req:respond { json = { ok = a.ok, outcome = a.outcome, class = a.class, status = a.status, sent = a.sent,
      after = a.retry_after, code = a.code, message = a.message } }
"""

OUTCOMES = {
    "429": (actions.fail(429, "slow down", code="rate_limit_exceeded", headers={"Retry-After": "7"}),
            {"outcome": "rate_limited", "class": "rate_limit", "status": 429, "after": 7, "code": "rate_limit_exceeded",
             "message": "slow down"}),
    "quota": (actions.fail(429, "You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
              {"outcome": "quota_exhausted", "class": "rate_limit", "status": 429}),
    "quota-402": (actions.fail(402, "Insufficient balance"), {"status": 402}),
    "500": (actions.fail(500), {"outcome": "server_error", "class": "backend", "status": 500}),
    "503": (actions.fail(503), {"class": "backend", "status": 503}),
    "529": (actions.fail(529, "Overloaded"), {"outcome": "overloaded", "class": "backend", "status": 529}),
    "408": (actions.fail(408), {"class": "backend", "status": 408}),
    "html-502": (actions.answer(502, body=b"<html>bad gateway</html>", content_type="text/html"),
                 {"outcome": "server_error", "class": "backend", "status": 502}),
    "401": (actions.fail(401), {"outcome": "credential_error", "class": "credential", "status": 401}),
    "403": (actions.fail(403), {"outcome": "credential_error", "class": "credential", "status": 403}),
    "404": (actions.fail(404, "no such model", code="model_not_found"),
            {"outcome": "model_unavailable", "class": "model", "status": 404}),
    "410": (actions.fail(410), {"outcome": "model_unavailable", "class": "model", "status": 410}),
    "context": (actions.fail(400, "maximum context length is 10", code="context_length_exceeded"),
                {"outcome": "context_too_long", "class": "context", "status": 400}),
    "413": (actions.fail(413), {"outcome": "too_large", "class": "context", "status": 413}),
    "filter": (actions.fail(400, "The response was filtered", code="content_filter"),
               {"outcome": "content_filtered", "class": "intercepted", "status": 400}),
    "451": (actions.fail(451), {"outcome": "content_filtered", "class": "intercepted", "status": 451}),
    "400": (actions.fail(400, "bad field"), {"outcome": "client_error", "class": "client", "status": 400}),
    "405": (actions.fail(405), {"outcome": "client_error", "class": "client", "status": 405}),
    "409": (actions.fail(409), {"outcome": "client_error", "class": "client", "status": 409}),
    "422": (actions.fail(422), {"outcome": "client_error", "class": "client", "status": 422}),
    "error-in-200": (actions.answer(200, wire.error_body("it broke")), {"class": "backend", "status": 200}),
    "empty-200": (actions.answer(200, body=b""), {"class": "backend", "status": 200}),
    "silence": (actions.silence(), {"class": "backend", "status": 0, "sent": "all"}),
    "hang-up": (actions.hang_up(), {"class": "backend", "status": 0, "sent": "all"}),
    "reset": (actions.hang_up("rst"), {"class": "backend", "status": 0}),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_outcomes_and_classes(lab, case):
    """Goal: the table of section 5, by what a provider really sends."""
    script, expected = OUTCOMES[case]
    got = told(lab, FACTS, script)
    assert got["ok"] is False
    assert {k: got.get(k) for k in expected} == expected


def test_refused_connection_sends_nothing(lab):
    """Goal: sent = "nothing" where no connection came about."""
    gw = lab.policy({"p": lab.refusing()}, FACTS)
    got = gw.chat().json()
    assert (got["outcome"], got["status"], got["sent"]) == ("connect_error", 0, "nothing")


@pytest.mark.parametrize("hint,least,most", [("Thu, 01 Jan 1970 00:00:00 GMT", None, 0.1), ("3.5", 3.5, 3.5), ("0", 0, 0),
                                             ("-4", None, 0), ("99999999999999999999", None, None), ("", None, None)])
def test_retry_after_forms(lab, hint, least, most):
    """Goal: hints in seconds or as dates; nonsense is no hint, or none that hurts."""
    after = told(lab, FACTS, actions.fail(429, headers={"Retry-After": hint})).get("after")
    assert after is None or after >= (least or 0)
    if least:
        assert after is not None and after == pytest.approx(most)
    if most is not None and after is not None:
        assert after <= most + 0.001


def test_content_filtered_inside_a_200(lab):
    """Goal: a 200 whose finish reason is the content filter is intercepted, and handed over when returned."""
    up = lab.upstream(actions.answer(200, wire.completion("", finish="content_filter")))
    gw = lab.policy({"p": up}, """
    local a = req:send("p/m")
    if a.outcome ~= "content_filtered" or a.class ~= "intercepted" then return req:fail(500, "wrong", a.outcome) end
    return a
""")
    answer = gw.chat()
    assert answer.status == 200 and answer.json()["choices"][0]["finish_reason"] == "content_filter"


# Options of send.

def test_send_sets_and_unsets(lab):
    """Goal: set and unset change top-level fields only; everything else stays byte for byte."""
    up = lab.upstream(actions.ok())
    gw = lab.policy({"p": up}, """
    return req:send("p/new-model", { set = { max_tokens = 5, added = { a = { 1, 2 }, b = "x\\"y" }, flag = false },
                                     unset = { "drop", "never_there" } })
""")
    body = '{"drop":[1,{"model":"x"}], "model":"old" ,"max_tokens":100000,"keep":1.50e2,"nested":{"drop":1,"max_tokens":2}}'
    assert call(gw.address, headers={"Content-Type": "application/json"}, body=body.encode()).status == 200
    sent = up.requests[0]
    assert sent.json() == {"model": "new-model", "max_tokens": 5, "keep": 150.0, "nested": {"drop": 1, "max_tokens": 2},
                           "added": {"a": [1, 2], "b": 'x"y'}, "flag": False}
    assert b'"keep":1.50e2' in sent.body and b'"nested":{"drop":1,"max_tokens":2}' in sent.body
    assert int(sent.header("content-length")) == len(sent.body)


@pytest.mark.parametrize("body,unset,left", [
    ('{"a":1}', '"a"', {}), ('{"a":1,"b":2}', '"a"', {"b": 2}), ('{"a":1,"b":2}', '"b"', {"a": 1}),
    ('{ "a" : 1 , "b" : 2 , "c" : 3 }', '"b"', {"a": 1, "c": 3}), ('{"a":1,"b":2,"c":3}', '"a","b","c"', {}),
    ('{}', '"a"', {}), ('{"a":1,"a":2,"b":3}', '"a"', {"b": 3}),
])
def test_unset_leaves_json(lab, body, unset, left):
    """Goal: what is left after taking fields out is still JSON, wherever they stood."""
    up = lab.upstream(actions.ok())
    gw = lab.policy({"p": up}, f"return req:send('p', {{ unset = {{ {unset} }} }})")
    assert call(gw.address, headers={"Content-Type": "application/json"}, body=body.encode()).status == 200
    assert up.requests[0].json() == left


def test_every_attempt_starts_from_the_original(lab):
    """Goal: what one attempt changed is not seen by the next."""
    up = lab.upstream(actions.fail(500), actions.ok())
    gw = lab.policy({"p": up}, """
    req:send("p/one", { set = { x = 1 }, unset = { "messages" }, headers = { ["x-one"] = "1" } })
    return req:send("p", {})
""")
    body = b'{"messages":[],"model":"client"}'
    assert call(gw.address, headers={"Content-Type": "application/json"}, body=body).status == 200
    assert up.requests[0].json() == {"model": "one", "x": 1} and up.requests[0].header("x-one") == "1"
    assert up.requests[1].body == body and up.requests[1].header("x-one") is None


def test_send_model_key_and_headers(lab):
    """Goal: model and key of one attempt; headers are added, and replace the client's."""
    up = lab.upstream(actions.ok())
    gw = lab.policy({"p": up}, """
    return req:send("p", { model = "other", key = "sk-other-key", headers = { ["x-a"] = "1", ["User-Agent"] = "policy" } })
""")
    assert gw.chat(headers={"User-Agent": "client"}).status == 200
    sent = up.requests[0]
    assert sent.json()["model"] == "other" and sent.all("authorization") == ["Bearer sk-other-key"]
    assert sent.header("x-a") == "1" and sent.all("user-agent") == ["policy"]
    assert "sk-other-key" not in gw.stderr + gw.stdout


@pytest.mark.parametrize("option,script,outcome", [
    ("total = 0.4", actions.silence(), "timeout_"),
    ("first_byte = 0.4", actions.silence(), "timeout_first_byte"),
    ("first_byte = 0.4", actions.drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 400, every=0.02), "timeout_first_byte"),
    ("first_token = 0.4", actions.stream(wire.role(), end="keep_open"), "timeout_first_token"),
    ("total = 0.4", actions.stream(wire.role(), end="keep_open"), "timeout_total"),
    ("total = 0.4", actions.raw(actions.head(200, {"Content-Length": 100, "Content-Type": "application/json"}), "stall"),
     "timeout_total"),
])
def test_send_clocks(lab, option, script, outcome):
    """Goal: each clock ends the attempt by its own name, and the connection is closed."""
    up = lab.upstream(script)
    gw = lab.policy({"p": up}, f"local a = req:send('p/m', {{ {option} }})\n"
                               "return req:respond { json = { outcome = a.outcome, total = a.time.total } }")
    got = gw.chat(stream=True).json()
    assert got["outcome"].startswith(outcome) and got["total"] >= 0.39
    assert up.calls[0].finished.wait(PATIENCE) and up.calls[0].ended == "gone"


def test_send_connect_clock(lab):
    """Goal: the limit on connecting."""
    gw = lab.policy({"p": lab.black_hole()}, """
    local a = req:send("p/m", { connect = 0.4 })
    return req:respond { json = { outcome = a.outcome, sent = a.sent } }
""")
    answer = gw.chat()
    assert answer.json() == {"outcome": "timeout_connect", "sent": "nothing"} and answer.elapsed >= 0.4


def test_attempts_are_those_asked_for(lab):
    """Goal: the core never sends by itself: three asked for, three received, whatever happens to them."""
    up = lab.upstream(actions.ok(), actions.hang_up(), actions.hang_up("rst"), actions.hang_up())
    gw = lab.policy({"p": up}, "for _ = 1, 3 do req:send('p/m') end\nreturn req:send('p/m')")
    assert_openai_error(gw.chat(), 502)
    gw.stop()
    assert up.count + up.unread == 4


def test_attempts_have_a_cap(lab):
    """Goal: a policy that never gives up is stopped at 32 attempts."""
    up = lab.upstream(actions.fail(500))
    gw = lab.policy({"p": up}, "local a\nfor _ = 1, 100 do a = req:send('p/m') end\nreturn a")
    assert gw.chat().status >= 500
    assert up.count <= 32


def test_attempts_list(lab):
    """Goal: req.attempts holds what has been tried."""
    got = told(lab, """
    req:send("p/a")
    req:send("p/b")
    local out = {}
    for i, a in ipairs(req.attempts) do out[i] = a.n .. a.target .. "=" .. a.outcome end
    return req:respond { json = out }
""", actions.fail(500), actions.ok())
    assert got == ["1p/a=server_error", "2p/b=ok"]


def test_an_earlier_attempt_can_be_returned(lab):
    """Goal: any attempt of the request may be the answer, not only the last."""
    up = lab.upstream(actions.fail(429, "the first"), actions.fail(500, "the second"))
    gw = lab.policy({"p": up}, "local a = req:send('p/a')\nreq:send('p/b')\nreturn a")
    answer = gw.chat()
    assert answer.status == 429 and answer.json()["error"]["message"] == "the first"


def test_an_earlier_stream_is_not_kept_open(lab):
    """Goal: a stream that the policy did not return is let go."""
    up = lab.upstream(actions.endless(0.02), actions.talk("second"))
    gw = lab.policy({"p": up}, "req:send('p/a')\nreturn req:send('p/b')")
    answer = gw.chat(stream=True)
    assert answer.clean and wire.text_of(answer.events()) == "second"
    assert up.calls[0].finished.wait(PATIENCE) and up.calls[0].ended == "gone"


def test_attempt_fail(lab):
    """Goal: a policy judges a 200 useless: it counts as that failure, and can still be returned."""
    up = lab.upstream(actions.ok("useless"))
    gw = lab.policy({"p": up}, """
    local a = req:send("p/m")
    a:fail("empty_response", "of no use")
    if a.ok or a.outcome ~= "empty_response" or a.class ~= "backend" then return req:fail(500, "wrong", a.outcome) end
    return a
""")
    answer = gw.chat()
    assert answer.status == 200 and answer.text == "useless"
    assert answer.trail == [("p/m", "empty_response", 200)]
    assert gw.entry(answer)["attempts"][0]["outcome"] == "empty_response"


def test_pcall_around_send(lab):
    """Goal: waiting works inside pcall, and an error of the policy's own can be caught."""
    got = told(lab, """
    local ok, a = pcall(req.send, req, "p/m")
    local bad, message = pcall(error, { code = 7 })
    local misuse = pcall(req.send, req, "nobody/m")
    local option = pcall(req.send, req, "p/m", { no_such_option = 1 })
    return req:respond { json = { ok = ok, outcome = a.outcome, bad = bad, code = message.code, misuse = misuse, option = option } }
""", actions.ok())
    assert got == {"ok": True, "outcome": "ok", "bad": False, "code": 7, "misuse": False, "option": False}


def test_sleep(lab):
    """Goal: sleeping takes the time and holds nobody else up."""
    gw = lab.policy({"p": lab.upstream()}, """
    if req:header("x-sleep") then req:sleep(1) end
    return req:respond { json = { elapsed = req.elapsed } }
""")
    with gw.open_chat(stream=False, headers={"X-Sleep": "1"}) as sleeper:
        quick = [gw.chat().json()["elapsed"] for _ in range(8)]
        assert sleeper.read().json()["elapsed"] >= 1.0
    assert min(quick) < 0.9


def test_request_deadline(lab):
    """Goal: a policy sets the request's deadline; the core keeps it, in a wait as in an attempt."""
    for work in ("req:sleep(30)", "req:send('p/m')"):
        up = lab.upstream(actions.silence())
        gw = lab.policy({"p": up}, f"req:deadline(0.5)\n{work}\nreturn req:respond {{ json = {{}} }}")
        answer = gw.chat()
        assert_openai_error(answer, 504)
        assert answer.elapsed >= 0.49


# Races.

def race(lab, first, second, options="delay = 0.3"):
    p, q = lab.upstream(first), lab.upstream(second)
    gw = lab.policy({"p": p, "q": q}, f"return req:race({{ {{ 'p/m', {{}} }}, {{ 'q/m', {{}} }} }}, {{ {options} }})")
    return gw, p, q


def test_race_second_wins(lab):
    """Goal: when the first shows nothing in time the second is started; the loser is cancelled, not blamed."""
    gw, p, q = race(lab, actions.silence(), actions.ok("from q"))
    answer = gw.chat()
    assert answer.text == "from q" and answer.elapsed >= 0.3
    assert p.calls[0].finished.wait(PATIENCE) and p.calls[0].ended == "gone"
    outcomes = {a["target"]: a["outcome"] for a in gw.entry(answer)["attempts"]}
    assert outcomes == {"p/m": "cancelled", "q/m": "ok"}
    assert gw.facts("p/m").get("suspended_for", 0) == 0


def test_race_first_wins_at_once(lab):
    """Goal: a first attempt in time needs no second."""
    gw, p, q = race(lab, actions.ok("from p"), actions.ok("from q"), "delay = 20")
    assert gw.chat().text == "from p" and (p.count, q.count) == (1, 0)


def test_race_first_wins_late(lab):
    """Goal: the first may still win after the second has started."""
    gate = threading.Event()
    gw, p, q = race(lab, actions.ok("from p", gate=gate), actions.silence())
    with gw.open_chat(stream=False) as c:
        wait_until(lambda: q.count == 1, "the second to start")
        gate.set()
        assert c.read().text == "from p"
    assert q.calls[0].finished.wait(PATIENCE) and q.calls[0].ended == "gone"


def test_race_of_streams(lab):
    """Goal: content decides, not the head."""
    gw, p, q = race(lab, actions.stream(wire.role(), end="keep_open"), actions.talk("from q"))
    answer = gw.chat(stream=True)
    assert answer.clean and wire.text_of(answer.events()) == "from q"
    assert p.calls[0].finished.wait(PATIENCE) and p.calls[0].ended == "gone"


def test_race_both_fail(lab):
    """Goal: when both fail, a failure is the result."""
    gw, p, q = race(lab, actions.fail(500), actions.fail(503), "delay = 0.1")
    assert gw.chat().status in (500, 503) and p.count == 1


def test_race_budget(lab):
    """Goal: no more than a tenth of the requests start a second attempt, on average."""
    gw, p, q = race(lab, actions.ok("from p", delay=0.1), actions.ok("from q"), "delay = 0.01, budget = 0.1")
    for _ in range(30):
        assert gw.chat().status == 200
    assert p.count == 30 and q.count <= 10


# Answers of the policy's own.

def test_respond_json_and_body(lab):
    """Goal: status, headers and body as the policy says; the target was nobody."""
    gw = lab.policy({"p": lab.upstream()}, """
    if req:header("x-body") then
      return req:respond { status = 418, headers = { ["x-mine"] = "yes", ["content-type"] = "text/plain" }, body = "tea\\0pot" }
    end
    return req:respond { json = { list = { 1, 2 }, s = "é\\n", t = true, n = 1.5 } }
""")
    answer = gw.chat()
    assert answer.status == 200 and answer.json() == {"list": [1, 2], "s": "é\n", "t": True, "n": 1.5}
    assert answer.header("content-type").startswith("application/json") and answer.header("x-moongate-target") is None
    assert gw.entry(answer)["status"] == 200
    answer = gw.chat(headers={"X-Body": "1"})
    assert (answer.status, answer.body, answer.header("x-mine")) == (418, b"tea\0pot", "yes")
    assert answer.header("content-type") == "text/plain"
    assert gw.entry(answer)["status"] == 418


def test_respond_stream(lab):
    """Goal: a local stream is written piece by piece, with waits between, and ends cleanly."""
    gw = lab.policy({"p": lab.upstream()}, """
    return req:respond { status = 200, headers = { ["content-type"] = "text/event-stream" }, stream = function(out)
      out:write("data: one\\n\\n")
      out:sleep(0.5)
      out:write("data: two\\n\\n")
    end }
""")
    began = time.monotonic()
    with gw.open_chat() as c:
        answer = c.start()
        assert answer.header("content-type") == "text/event-stream"
        first = answer.next_event()
        second = answer.next_event()
        assert (first.data, second.data) == ("one", "two") and second.at - began >= 0.5
        assert answer.next_event() is None and answer.clean


def test_respond_stream_aborted(lab):
    """Goal: out:abort() cuts the stream, and nobody can take it for complete."""
    gw = lab.policy({"p": lab.upstream()}, """
    return req:respond { headers = { ["content-type"] = "text/event-stream" }, stream = function(out)
      out:write("data: one\\n\\n")
      out:abort()
      out:write("data: two\\n\\n")
    end }
""")
    answer = gw.chat(stream=True)
    assert not answer.clean and b"one" in answer.body and b"two" not in answer.body


def test_respond_stream_that_fails(lab):
    """Goal: an error in a local stream is logged with file and line, and the stream is cut."""
    gw = lab.policy({"p": lab.upstream()}, """
    return req:respond { headers = { ["content-type"] = "text/event-stream" }, stream = function(out)
      out:write("data: one\\n\\n")
      error("in the stream")
    end }
""")
    answer = gw.chat(stream=True)
    assert not answer.clean and b"one" in answer.body
    assert gw.wait_log(r"own\.lua:8.*in the stream")


def test_respond_stream_with_a_slow_reader(lab):
    """Goal: writing waits for a client that does not read; memory does not hold it all."""
    gw = lab.policy({"p": lab.upstream()}, """
    return req:respond { stream = function(out)
      local piece = ("x"):rep(65536)
      for i = 1, 128 do
        out:write(piece)
        out:sleep(0)
      end
    end }
""", asan="quarantine_size_mb=1")
    before = gw.rss()
    with gw.client(rcvbuf=65536) as c:
        answer = c.request("POST", "/v1/chat/completions", body={"model": "m"}).start()
        assert answer.status == 200
        answer.rest()
    assert answer.clean and len(answer.body) == 128 * 65536
    assert gw.rss() - before < 16 << 20


def test_respond_with_an_attempt_changed(lab):
    """Goal: a policy may read an answer and give another in its place."""
    gw = lab.policy({"p": lab.upstream(actions.ok("four"))}, """
    local a = req:send("p/m")
    return req:respond { status = 203, json = { text = a:json("choices.0.message.content") .. "!" } }
""")
    answer = gw.chat()
    assert (answer.status, answer.json()) == (203, {"text": "four!"})
    assert answer.trail == [("p/m", "ok", 200)]


def test_unavailable_and_fail(lab):
    """Goal: the two ready-made errors, in the dialect of the route."""
    gw = lab.policy({"p": lab.upstream()}, """
    if req:header("x-fail") then return req:fail(402, "no_money", "pay first") end
    return req:unavailable(11.2, "come back later")
""")
    answer = gw.chat()
    error = assert_openai_error(answer, 503, "all_targets_suspended")
    assert answer.header("retry-after") == "12" and "come back later" in error["message"]
    assert "pay first" in assert_openai_error(gw.chat(headers={"X-Fail": "1"}), 402, "no_money")["message"]
