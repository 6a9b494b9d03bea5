# SPDX-License-Identifier: MIT
"""SCENARIOS.tsv, group B: which failures move on, to whom, and what each target is sent."""
import pytest
from support import actions, wire
from support.client import assert_openai_error, chat_body
from support.rules import Rules
from support.speech import Pair

ANTHROPIC = Pair("anthropic", "anthropic")


def counts(*ups):
    return [up.count for up in ups]


def pair(lab, first, second=None):
    return lab.upstream(first), lab.upstream(second or actions.ok("from f1"))


def test_B01_fallback_on_5xx(lab):
    """Goal: without a breaker every request tries the first target, and is answered by the second."""
    p, f1 = pair(lab, actions.fail(500))
    gw = lab.failover({"p": p, "f1": f1})
    for _ in range(10):
        answer = gw.chat()
        assert (answer.status, answer.text) == (200, "from f1")
        assert answer.trail == [("p/p-model", "server_error", 500), ("f1/f1-model", "ok", 200)]
        assert answer.header("x-moongate-target") == "f1/f1-model"
    assert counts(p, f1) == [10, 10]


def test_B02_fallback_on_429_without_waiting(lab):
    """Goal: another target is asked at once, whatever the first one's hint."""
    p, f1 = pair(lab, actions.fail(429, headers={"Retry-After": "100"}))
    answer = lab.failover({"p": p, "f1": f1}).chat()
    assert (answer.status, answer.text, counts(p, f1)) == (200, "from f1", [1, 1])
    assert answer.elapsed < 100


def test_B03_fallback_on_refused_connection(lab):
    """Goal: nothing listening is a failure like any other."""
    p, f1 = lab.refusing(), lab.upstream(actions.ok("from f1"))
    gw = lab.failover({"p": p, "f1": f1})
    for _ in range(10):
        answer = gw.chat()
        assert (answer.status, answer.text) == (200, "from f1")
        assert answer.trail[0] == ("p/p-model", "connect_error", 0)
    assert f1.count == 10


def test_B04_answer_of_its_own(lab):
    """Goal: when_exhausted = "unavailable" is a 502 that names no address and no key."""
    p, f1 = pair(lab, actions.fail(429, "slow down, 127.0.0.1"), actions.fail(500, "dead"))
    gw = lab.failover({"p": p, "f1": f1}, {"when_exhausted": "unavailable"})
    answer = gw.chat()
    assert_openai_error(answer, 502)
    assert b"127.0.0.1" not in answer.body and b"sk-provider" not in answer.body
    assert counts(p, f1) == [1, 1] and answer.header("x-should-retry") == "false"


def test_B05_cap_on_attempts(lab):
    """Goal: max_attempts = 2 leaves the third target alone, and the client gets a real answer."""
    ups = [lab.upstream(actions.fail(500, f"failure of t{n}")) for n in (1, 2, 3)]
    answer = lab.failover(dict(zip(("t1", "t2", "t3"), ups)), {"max_attempts": 2}).chat()
    assert answer.status == 500 and answer.json()["error"]["message"] == "failure of t2"
    assert counts(*ups) == [1, 1, 0]


def test_B06_slow_failures_are_returned(lab):
    """Goal: a quick failure moves on; one that took longer than slow_failure is returned."""
    p, f1 = pair(lab, actions.fail(500))
    assert lab.failover({"p": p, "f1": f1}, {"slow_failure": 5}).chat().text == "from f1"
    assert counts(p, f1) == [1, 1]
    p, f1 = pair(lab, actions.fail(500, delay=0.6))
    assert lab.failover({"p": p, "f1": f1}, {"slow_failure": 0.3}).chat().status == 500
    assert counts(p, f1) == [1, 0]


def test_B08_nothing_leaks_between_targets(lab):
    """Goal: what is set for one target is not sent to the next, and the log keeps the client's model."""
    p, f1 = pair(lab, actions.fail(500), actions.echo())
    gw = lab.failover({"p": p, "f1": f1}, {"targets": [{"target": "p/A", "set": {"temperature": 0.9}}, "f1/B"]})
    answer = gw.chat(model="client-model", x="é\u2028", n=9007199254740993)
    assert answer.status == 200
    assert p.requests[0].json()["model"] == "A" and p.requests[0].json()["temperature"] == 0.9
    sent = f1.requests[0].json()
    assert sent["model"] == "B" and "temperature" not in sent
    assert sent["n"] == 9007199254740993 and sent["x"] == "é\u2028"
    assert gw.entry(answer)["model"] == "client-model"


def test_B08_body_is_spliced(lab):
    """Goal: but for the model's value the body is forwarded byte for byte."""
    up = lab.upstream(actions.ok())
    gw = lab.failover({"p": up}, {"targets": ["p/B"]})
    body = '{ "a" : 1.0e+3,"model"\t:\n"client-model" , "messages":[{"role":"user","content":"\\u00e9 é"}], "z":{"model":"x"} }'
    assert gw.chat(body=body.encode(), headers={"Content-Type": "application/json"}).status == 200
    assert up.requests[0].body.decode() == body.replace('"client-model"', '"B"')


def test_B09_listed_statuses(lab):
    """Goal: a trigger made of statuses moves on for exactly those."""
    p, f1, f2 = lab.upstream(actions.fail(401)), lab.upstream(actions.fail(402)), lab.upstream(actions.ok("from f2"))
    answer = lab.failover({"p": p, "f1": f1, "f2": f2}, {"trigger": [401, 402]}).chat()
    assert (answer.status, answer.text, counts(p, f1, f2)) == (200, "from f2", [1, 1, 1])


def test_B11_unlisted_401(lab):
    """Goal: a 401 that is no trigger ends the chain, and is still never shown as one."""
    p, f1 = pair(lab, actions.fail(401))
    answer = lab.failover({"p": p, "f1": f1}, {"trigger": [429, "5xx"]}).chat()
    assert "credential" in assert_openai_error(answer, 502)["message"].lower()
    assert counts(p, f1) == [1, 0]


def test_B12_unlisted_500(lab):
    """Goal: with a trigger on 429 only, a 500 is returned."""
    p, f1 = pair(lab, actions.fail(500))
    assert lab.failover({"p": p, "f1": f1}, {"trigger": [429]}).chat().status == 500
    assert counts(p, f1) == [1, 0]


def test_B14_group_is_one_step(lab):
    """Goal: one member of a group is picked and retried there; then the chain goes on after the group."""
    g1, g2, f1 = lab.upstream(actions.fail(500)), lab.upstream(actions.fail(500)), lab.upstream(actions.ok("from f1"))
    group = {"order": "weighted", "targets": [{"target": "g1/x", "weight": 1}, {"target": "g2/x", "weight": 1}]}
    gw = lab.failover({"g1": g1, "g2": g2, "f1": f1},
                      {"targets": [group, {"target": "f1/y", "retries": 0}], "retries": 1, "backoff": {"base": 0.01}})
    assert gw.chat().text == "from f1"
    assert sorted(counts(g1, g2)) == [0, 2] and f1.count == 1


def test_B15_chain(lab):
    """Goal: refused, 500, 200: the trail counts two fallbacks; with a healthy first target there is none."""
    p, f1, f2 = lab.refusing(), lab.upstream(actions.fail(500)), lab.upstream(actions.ok("from f2"))
    answer = lab.failover({"p": p, "f1": f1, "f2": f2}).chat()
    assert answer.text == "from f2" and counts(f1, f2) == [1, 1]
    assert [t[:2] for t in answer.trail] == [("p/p-model", "connect_error"), ("f1/f1-model", "server_error"),
                                             ("f2/f2-model", "ok")]
    p = lab.upstream(actions.ok("from p"))
    answer = lab.failover({"p": p, "f1": f1, "f2": f2}).chat()
    assert answer.text == "from p" and answer.trail == [("p/p-model", "ok", 200)]


def test_B17_client_opts_out(lab):
    """Goal: opt_out_header switches failover off for the client that sends it, and for no other."""
    p, f1 = pair(lab, actions.fail(401))
    gw = lab.failover({"p": p, "f1": f1}, {"trigger": "any", "opt_out_header": "x-no-fallback"})
    assert_openai_error(gw.chat(headers={"X-No-Fallback": "1"}), 502)
    assert counts(p, f1) == [1, 0]
    assert gw.chat().text == "from f1" and counts(p, f1) == [2, 1]


TOO_LONG = actions.fail(400, "This model's maximum context length is 8192 tokens", "invalid_request_error",
                        "context_length_exceeded")


def test_B18_context_targets(lab):
    """Goal: a prompt that is too long goes to the target for long ones; other 400s do not."""
    p, big = lab.upstream(TOO_LONG, actions.fail(400)), lab.upstream(actions.ok("from big"))
    gw = lab.failover({"p": p, "big": big}, {"targets": ["p/small"], "context_targets": ["big/large"]})
    assert gw.chat().text == "from big" and counts(p, big) == [1, 1]
    assert big.requests[0].json()["model"] == "large"
    assert gw.chat().status == 400 and counts(p, big) == [2, 1]


def test_B18_by_script(lab):
    """Goal: the same, decided by a policy that looks at the provider's code."""
    p, big = lab.upstream(TOO_LONG, actions.fail(400, code="other")), lab.upstream(actions.ok("from big"))
    gw = lab.policy({"p": p, "big": big}, """
    local a = req:send("p/small")
    if a.code == "context_length_exceeded" then return req:send("big/large") end
    return a
""")
    assert gw.chat().text == "from big" and counts(p, big) == [1, 1]
    answer = gw.chat()
    assert answer.status == 400 and answer.json()["error"]["code"] == "other" and counts(p, big) == [2, 1]


@pytest.mark.parametrize("status", [400, 422])
def test_B23_fault_of_the_caller(lab, status):
    """Goal: a request that is wrong everywhere is tried once."""
    p, f1 = pair(lab, actions.fail(status, "messages must not be empty", "invalid_request_error"))
    answer = lab.failover({"p": p, "f1": f1}).chat()
    assert answer.status == status and answer.json()["error"]["message"] == "messages must not be empty"
    assert counts(p, f1) == [1, 0]


@pytest.mark.parametrize("message,code", [
    ("API key not valid. Please pass a valid API key.", None),
    ("Incorrect API key provided: sk-provider-p. You can find your API key in your account.", "invalid_api_key"),
])
def test_B24_400_about_the_key(lab, message, code):
    """Goal: a 400 that speaks of the key is a fault of ours, and moves on."""
    p, f1 = pair(lab, actions.fail(400, message, "invalid_request_error", code))
    answer = lab.failover({"p": p, "f1": f1}).chat()
    assert (answer.status, answer.text, counts(p, f1)) == (200, "from f1", [1, 1])
    assert answer.trail[0] == ("p/p-model", "credential_error", 400)


def test_B26_priorities(lab):
    """Goal: two targets share the first priority; each request tries one, then the next priority, renamed."""
    a, b = lab.upstream(actions.fail(500, "from a")), lab.upstream(actions.fail(500, "from b"))
    c = lab.upstream(actions.ok("from c"))
    gw = lab.failover({"a": a, "b": b, "c": c},
                      {"targets": [{"order": "round_robin", "targets": ["a", "b"]}, "c/renamed"]})
    for _ in range(20):
        answer = gw.chat(model="original")
        assert (answer.status, answer.text) == (200, "from c")
    assert counts(a, b, c) == [10, 10, 20]
    assert {r.json()["model"] for r in c.requests} == {"renamed"}
    assert {r.json()["model"] for r in a.requests + b.requests} == {"original"}


def test_B27_reload_adds_the_fallback(lab):
    """Goal: a fallback added on a running gateway serves the next request; the connection stays open."""
    p, f1 = lab.refusing(), lab.upstream(actions.ok("from f1"))
    gw = lab.failover({"p": p, "f1": f1}, {"targets": ["p/a"]})
    text = (gw.folder / "gateway.lua").read_text()
    assert '"p/a",' in text
    with gw.client() as c:
        for _ in range(5):
            assert c.request("POST", "/v1/chat/completions", body=chat_body()).read().status in (502, 503)
        gw.write("gateway.lua", text.replace('"p/a",', '"p/a", "f1/b",'))
        gw.reload()
        for _ in range(5):
            answer = c.request("POST", "/v1/chat/completions", body=chat_body()).read()
            assert (answer.status, answer.text) == (200, "from f1")
    assert f1.count == 5


def test_B27_fallback_in_a_reloaded_policy(lab):
    """Goal: the same with the list in the policy's own text, by way of the admin API, on the connection of before."""
    text = """local failover = require "moongate.failover"
return {
  name = "own", version = 1, settings = {},
  handle = function(req)
    return failover.run(req, { targets = { %s } })
  end,
}
"""
    f1 = lab.upstream(actions.ok("from f1"))
    gw = lab.failover({"p": lab.refusing(), "f1": f1}, {}, policy="own", policies={"own": text % '"p/a"'},
                      route={"settings": {}})
    pid = gw.process.pid
    with gw.client() as c:
        for _ in range(5):
            assert c.request("POST", "/v1/chat/completions", body=chat_body()).read().status in (502, 503)
        gw.write("policies/own.lua", text % '"p/a", "f1/b"')
        Rules(gw).apply()
        for _ in range(5):
            answer = c.request("POST", "/v1/chat/completions", body=chat_body()).read()
            assert (answer.status, answer.text) == (200, "from f1")
    assert f1.count == 5 and gw.process.pid == pid


def test_B29_listed_order_on_any_4xx_or_5xx(lab):
    """Goal: trigger "any" walks the list in order, every time."""
    p, f1, f2 = lab.upstream(actions.fail(403)), lab.upstream(actions.fail(404)), lab.upstream(actions.ok("from f2"))
    gw = lab.failover({"p": p, "f1": f1, "f2": f2}, {"trigger": "any"})
    for _ in range(3):
        answer = gw.chat()
        assert answer.text == "from f2"
        assert [(t[0], t[2]) for t in answer.trail] == [("p/p-model", 403), ("f1/f1-model", 404), ("f2/f2-model", 200)]
    assert counts(p, f1, f2) == [3, 3, 3]


def test_B29_caller_faults_move_on_under_any(lab):
    """Goal: "any" includes what the default takes for the caller's own fault."""
    p, f1 = pair(lab, actions.answer(422, wire.error_body("bad")))
    assert lab.failover({"p": p, "f1": f1}, {"trigger": "any"}).chat().text == "from f1"


REFUSALS = {"no text": [], "text": [ANTHROPIC.provider.piece("I would rather not.")]}


def refusal_stream(text):
    say = ANTHROPIC.provider
    opening = say.opening() if text else say.opening()[:2]
    return [*opening, *text, *say.closing("filter")[0 if text else 1:]]


@pytest.mark.parametrize("text", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("trigger", ["backend_errors", []], ids=["backend errors", "no rule"])
def test_B22_refusal_without_a_rule(lab, text, trigger):
    """Goal: where no rule speaks of refusals an Anthropic client gets the provider's frames byte for byte, and nobody else is asked."""
    frames = refusal_stream(text)
    p, f1 = pair(lab, actions.stream(*frames), actions.stream(*ANTHROPIC.whole("never")))
    answer, _ = ANTHROPIC.read(ANTHROPIC.gateway(lab, {"p": p, "f1": f1}, {"trigger": trigger}))
    assert answer.clean and answer.body == b"".join(frames)
    assert answer.header("content-type") == "text/event-stream" and counts(p, f1) == [1, 0]


def test_B22_refusal_and_nobody_else(lab):
    """Goal: the same for a route with one target, whatever its rule."""
    frames = refusal_stream([])
    answer, _ = ANTHROPIC.read(ANTHROPIC.gateway(lab, {"p": lab.upstream(actions.stream(*frames))}, {"trigger": "any"}))
    assert answer.clean and answer.body == b"".join(frames) and answer.trail == [("p/p-model", "content_filtered", 200)]


def test_B22_refusal_with_a_rule(lab):
    """Goal: with one, a refusal that says nothing moves on, and none of it is seen."""
    p, f1 = pair(lab, actions.stream(*refusal_stream([])), actions.stream(*ANTHROPIC.whole("from f1")))
    answer, events = ANTHROPIC.read(ANTHROPIC.gateway(lab, {"p": p, "f1": f1}, {"trigger": ["intercepted"]}))
    assert ANTHROPIC.client.text(events) == "from f1" and b"refusal" not in answer.body and counts(p, f1) == [1, 1]
