# SPDX-License-Identifier: MIT
"""The policy API of section 6 where the other tests leave something open, and the default plan."""
import re

import pytest
from support import actions
from support.client import assert_openai_error, call
from support.waiting import PATIENCE, wait_until


def own(lab, code, p=None, q=None, chat=None, **more):
    """One request to a policy with this text over providers p and q: gateway, answer."""
    gw = lab.policy({"p": lab.upstream(*(p or [actions.ok("p")])), "q": lab.upstream(*(q or [actions.ok("q")]))}, code, **more)
    return gw, gw.chat(**(chat or {}))


def test_paths_into_the_request(lab):
    """Goal: req:json takes dots and zero-based indexes; what is not there, null included, is nil."""
    code = """return req:respond { json = {
      a = req:json("messages.0.content"), b = req:json("messages.1.content") == nil, c = req:json("x.y.0.z"), d = req:json("no.a") == nil,
      e = req:json("t"), g = req:json("n"), h = req:json("nothing") == nil, i = req:json("messages.-1") == nil } }"""
    _, answer = own(lab, code, chat={"x": {"y": [{"z": "deep"}]}, "t": True, "n": 1.5, "nothing": None})
    assert answer.json() == {"a": "hi", "b": True, "c": "deep", "d": True, "e": True, "g": 1.5, "h": True, "i": True}


def test_facts_of_an_attempt(lab):
    """Goal: a failed attempt tells code, message, hint, class and outcome, and its own JSON."""
    code = """local a = req:send("p/x")
    return req:respond { json = { a.code, a.message, a.retry_after, a.class, a.outcome, a:json("error.code") } }"""
    _, answer = own(lab, code, p=[actions.fail(429, "slow", code="rate_limit_exceeded", headers={"retry-after-ms": "1500"})])
    assert answer.json() == ["rate_limit_exceeded", "slow", 1.5, "rate_limit", "rate_limited", "rate_limit_exceeded"]


def test_attempts_of_the_request(lab):
    """Goal: req.attempts lists the very attempts that send returned."""
    code = """local a, b = req:send("p/x"), req:send("q/y")
    return req:respond { json = { #req.attempts, req.attempts[1].outcome, req.attempts[2].target, req.attempts[1] == a, a.n, b.n } }"""
    _, answer = own(lab, code, p=[actions.fail(500)])
    assert answer.json() == [2, "server_error", "q/y", True, 1, 2]


def test_failed_stream_moves_on(lab):
    """Goal: attempt:fail on a stream that began well: the next one is given, and nothing of the first."""
    _, answer = own(lab, "req:send('p/x'):fail('content_filtered', 'useless')\nreturn req:send('q/y')",
                    p=[actions.talk("from p")], q=[actions.talk("from q")], chat={"stream": True})
    assert [t[1] for t in answer.trail] == ["content_filtered", "ok"]
    assert b"from q" in answer.body and b"from p" not in answer.body


def test_fail_gives_the_slot_back(lab):
    """Goal: an answer turned into a failure holds no slot: the next attempt may go to the same provider of one slot."""
    gw, answer = own(lab, "req:send('p/x'):fail('content_filtered')\nreturn req:send('p/y')", p=[actions.endless(), actions.talk("second")],
                     chat={"stream": True}, options={"max_inflight": 1, "queue": 0})
    assert [t[:2] for t in answer.trail] == [("p/x", "content_filtered"), ("p/y", "ok")]
    assert answer.clean and b"second" in answer.body
    wait_until(lambda: all(t["inflight"] == 0 for t in gw.targets().values()))


def test_failed_answer_may_be_returned(lab):
    """Goal: an attempt that was failed can still be returned, as what it is now; an unknown outcome is an error."""
    _, answer = own(lab, "local a = req:send('p/x')\na:fail('invalid_response', 'useless')\nreturn a")
    assert [t[1] for t in answer.trail] == ["invalid_response"]
    _, answer = own(lab, "local a = req:send('p/x')\nreturn req:respond { json = { (pcall(a.fail, a, 'nope')), (pcall(a.fail, a, 'ok')) } }")
    assert answer.json() == [False, False]


def test_suspended_unless_forced(lab):
    """Goal: send to a suspended target is no attempt, unless it is forced."""
    _, answer = own(lab, """moongate.suspend("p/x", 30, "r")
    local a = req:send("p/x")
    local b = req:send("p/x", { force = true })
    return req:respond { json = { a.outcome, a.class, b.outcome } }""")
    assert answer.json() == ["suspended", "backend", "ok"] and answer.trail == [("p/x", "ok", 200)]


def test_group_suspended_as_one(lab):
    """Goal: of two suspensions the later counts; a group is suspended and resumed as one."""
    code = """moongate.suspend("p/p-model", 60, "why")
    moongate.suspend("p/p-model", 5, "shorter")
    local a, b, s = moongate.health("p/p-model"), moongate.health("q/q-model"), req:send("q/q-model")
    moongate.resume("q/q-model")
    local c, d = moongate.health("p/p-model"), moongate.health("q/q-model")
    return req:respond { json = { a.suspended_for > 30, a.reason, b.suspended_for > 30, s.outcome, c.suspended_for, d.suspended_for } }"""
    _, answer = own(lab, code, options={"quota_group": "org"})
    assert answer.json() == [True, "why", True, "suspended", 0, 0]


def test_race_blames_nobody(lab):
    """Goal: the loser of a race is cancelled, its provider sees it, and no failure is counted."""
    p, q = lab.upstream(actions.silence()), lab.upstream(actions.ok())
    gw = lab.policy({"p": p, "q": q}, "return req:race({ { 'p/x' }, { 'q/y' } }, { delay = 0.1 })")
    answer = gw.chat()
    assert answer.trail == [("p/x", "cancelled", 0), ("q/y", "ok", 200)]
    assert p.calls[0].finished.wait(PATIENCE) and p.calls[0].ended == "gone"
    assert gw.facts("p/x").get("failures", 0) == 0
    assert [(a["outcome"], a["class"]) for a in gw.entry(answer)["attempts"]] == [("cancelled", None), ("ok", None)]


def test_race_does_not_wait_for_the_dead(lab):
    """Goal: when the first fails the second starts at once."""
    _, answer = own(lab, "return req:race({ { 'p/x' }, { 'q/y' } }, { delay = 60 })", p=[actions.fail(500)])
    assert answer.trail == [("p/x", "server_error", 500), ("q/y", "ok", 200)]


@pytest.mark.parametrize("code", ["req:race({})", "req:race({ { 'p/x' } }, { dely = 1 })", "req:send('p/x', { total = -1 })",
                                  "req:send('p/x', { total = 'a' })", "req.nope()"])
def test_wrong_arguments(lab, code):
    """Goal: wrong arguments are errors, not guesses: no attempt is made."""
    _, answer = own(lab, f"return req:respond {{ json = {{ (pcall(function() return {code} end)) }} }}")
    assert answer.json() == [False] and answer.trail == []


@pytest.mark.parametrize("code", ["settings.x = 1", "settings.targets[1] = 'z'", "moongate.foo = 1", "req.id = 'x'", "string.rep = nil",
                                  "undeclared = 1", "return undeclared2", "rawset(settings, 'x', 1)", "table.insert(settings.targets, 'z')"])
def test_read_only(lab, code):
    """Goal: nothing that policies share can be changed, and no global comes about."""
    _, answer = own(lab, f"return req:respond {{ json = {{ (pcall(function() {code} end)) }} }}")
    assert answer.json() == [False]


def test_sleep_ends_with_the_deadline(lab):
    """Goal: a policy that sleeps beyond its deadline is a 504."""
    _, answer = own(lab, "req:deadline(0.3)\nreq:sleep(60)\nreturn req:respond { body = 'x' }")
    assert_openai_error(answer, 504)


def test_headers_of_a_local_answer(lab):
    """Goal: an answer of the policy's own cannot break its framing."""
    _, answer = own(lab, """return req:respond { status = 200, body = "hello", headers = {
      ["x-a"] = "b", ["Content-Length"] = "999", ["Transfer-Encoding"] = "chunked" } }""")
    assert (answer.status, bytes(answer.body), answer.clean) == (200, b"hello", True) and answer.header("x-a") == "b"


def test_labels_are_one_series(lab):
    """Goal: the order in which a policy writes labels makes no second series, over all workers."""
    gw = lab.policy({"p": lab.upstream()}, """
    local labels = {}
    for _, n in ipairs(req:header("x-turn") == "1" and { "a", "b", "c", "d" } or { "d", "c", "b", "a" }) do labels[n] = n end
    moongate.metric("told", 1, labels)
    return req:respond { body = "x" }
""")
    for n in range(12):
        gw.chat(headers={"X-Turn": str(n % 2)})
    told = [s for s in gw.metrics() if s.labels.get("a") == "a"]
    assert len(told) == 1 and told[0].value == 12
    text = call(gw.admin, "GET", "/metrics").body.decode()
    assert len(re.findall(r'a="a".*b="b".*c="c".*d="d"', text)) == 1


CANCELLED = {
    "answered-meanwhile": ("req:start('p/x')\nreq:sleep(0.1)\nreturn req:respond { body = 'hi' }", 200),
    "other-returned": ("req:start('p/x')\nlocal b = req:send('q/y')\nreturn b", 200),
    "deadline": ("req:deadline(0.3)\nreq:start('p/x')\nreq:sleep(60)\nreturn req:respond { body = 'hi' }", 504),
}


@pytest.mark.parametrize("case", CANCELLED)
def test_trail_of_what_was_left_behind(lab, case):
    """Goal: an attempt that nobody waited for is `cancelled` in trail and log, never `ok`."""
    code, status = CANCELLED[case]
    gw, answer = own(lab, code, p=[actions.silence()])
    assert answer.status == status
    assert ("p/x", "ok", 0) not in answer.trail and answer.trail[0][:1] == ("p/x",)
    assert status != 200 or answer.trail[0] == ("p/x", "cancelled", 0)
    logged = gw.entry(answer)["attempts"][0]
    assert (logged["outcome"], logged["status"]) == answer.trail[0][1:]


def test_default_plan_keeps_the_clocks(lab):
    """Goal: a policy's failure does not take the settings' request_timeout away."""
    p, q = lab.upstream(actions.silence()), lab.upstream(actions.ok("q"))
    answer = lab.policy({"p": p, "q": q}, "error('x')", settings={"targets": ["p/a", "q/b"], "request_timeout": 1.5}).chat()
    assert answer.text == "q" and [t[1] for t in answer.trail] == ["timeout_total", "ok"]


def test_default_plan_keeps_the_first_packet_timeout(lab):
    """Goal: … nor its first_packet_timeout."""
    p, q = lab.upstream(actions.stream(b": ping\n\n", end="keep_open")), lab.upstream(actions.talk("q"))
    settings = {"targets": ["p/a", "q/b"], "first_packet_timeout": 1.5}
    answer = lab.policy({"p": p, "q": q}, "error('x')", settings=settings).chat(stream=True)
    assert [t[1] for t in answer.trail] == ["timeout_first_token", "ok"] and answer.clean


PLANS = {
    "first": ("moongate.suspend('p/p-model', 60)\nerror('x')", [actions.ok()], 200, ["q/q-model"]),
    "all": ("moongate.suspend('p/p-model', 600)\nmoongate.suspend('q/q-model', 40)\nerror('x')", [actions.ok()], 503, []),
    "last": ("moongate.suspend('q/q-model', 60)\nerror('x')", [actions.fail(500, "real")], 500, ["p/p-model"]),
}


@pytest.mark.parametrize("case", PLANS)
def test_default_plan_with_suspended_targets(lab, case):
    """Goal: the default plan passes over what is suspended; a real failure is shown, else the soonest recovery."""
    code, p, status, trail = PLANS[case]
    _, answer = own(lab, code, p=p)
    assert (answer.status, [t[0] for t in answer.trail]) == (status, trail)
    if status == 503:
        assert 20 <= int(answer.header("retry-after")) <= 40
    if status == 500:
        assert answer.json()["error"]["message"] == "real"


@pytest.mark.parametrize("code", ["local _ = 1", "return 7", "while true do end"])
def test_line_of_the_handler(lab, code):
    """Goal: a failure that has no line of its own is logged with the handler's."""
    gw, answer = own(lab, code)
    assert answer.status == 200
    assert gw.wait_log(r"policies/own\.lua:5: policy .*generation 1")
