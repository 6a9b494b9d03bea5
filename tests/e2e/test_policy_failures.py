# SPDX-License-Identifier: MIT
"""Policies that fail: logged with file, line and generation, counted, and answered by the default plan."""
import re

import pytest
from conftest import wrap
from support import actions
from support.client import assert_openai_error
from support.waiting import wait_until


def counted(gw):
    """How many failures of policies the metrics tell of."""
    return gw.metric(r"moongate_policy_\w*(error|kill|fail)\w*")


LOOP = "while true do end"
FAILURES = {
    "error": ('error("on purpose")', r"own\.lua:6"),
    "error-in-a-table": ("error({ code = 1 })", r"own\.lua"),
    "nil-index": ("local t = nil\nreturn t.x", r"own\.lua:7"),
    "stack-overflow": ("local function f() return 1 + f() end\nreturn f()", r"own\.lua"),
    "nothing": ("local _ = 1", r"own"),
    "number": ("return 7", r"own"),
    "table": ("return { status = 200 }", r"own"),
    "string": ("return 'ok'", r"own"),
    "function": ("return function() end", r"own"),
    "unknown-target": ("return req:send('nobody/m')", r"own\.lua:6"),
    "unknown-option": ("return req:send('p/m', { tiemout = 1 })", r"own\.lua:6"),
    "no-target": ("return req:send()", r"own\.lua:6"),
    "bad-set": ("return req:send('p/m', { set = 7 })", r"own\.lua:6"),
    "set-a-function": ("return req:send('p/m', { set = { x = print } })", r"own\.lua:6"),
    "bad-header": ("return req:send('p/m', { headers = { ['x\\r\\ny'] = 'z' } })", r"own\.lua:6"),
    "bad-header-value": ("return req:send('p/m', { headers = { x = 'a\\r\\nb: c' } })", r"own\.lua:6"),
    "bad-respond-header": ("return req:respond { headers = { x = 'a\\r\\nb: c' }, body = '' }", r"own\.lua:6"),
    "bad-status": ("return req:respond { status = 7, body = '' }", r"own\.lua:6"),
    "bad-sleep": ("req:sleep('long')", r"own\.lua:6"),
    "negative-sleep-and-nothing": ("req:sleep(-1)", r"own"),
    "dot-for-colon": ("return req.send('p/m')", r"own\.lua:6"),
    "undeclared": ("return no_such_thing.x", r"own\.lua:6"),
    "endless": (LOOP, r"own"),
    "endless-in-pcall": ("while true do pcall(function() while true do end end) end", r"own"),
    "endless-pcall-recursion": ("local function f() pcall(f) pcall(f) end\nf()", r"own"),
    "endless-in-xpcall": ("xpcall(function() while true do end end, function() while true do end end)", r"own"),
    "endless-comparator": ("table.sort({ 3, 2, 1 }, function() while true do end end)", r"own"),
    "endless-gsub": ("(''):gsub('', function() while true do end end)", r"own"),
    "endless-close": ("do local x <close> = setmetatable({}, { __close = function() while true do end end }) end", r"own"),
    "endless-sort-handler": ("xpcall(function() table.sort({ 2, 1 }, function() while true do end end) end, "
                             "function() while true do end end)", r"own"),
    "rep-of-nothing": ("local s = (''):rep(1 << 62)", r"own"),
    "rep-large": ("local s = ('x'):rep(60000000)\nlocal t = s .. s\nwhile true do t = t .. t end", r"own"),
    "move": ("table.move({}, 1, 1 << 50, 2)", r"own"),
    "insert-len": ("table.insert(setmetatable({}, { __len = function() return 1 << 50 end }), 1, 2)", r"own"),
    "pattern": ("local x = (('a'):rep(50000)):find('.-.-.-.-b')", r"own"),
    "pattern-optional": ("local x = (('a'):rep(40)):find(('a?'):rep(40) .. ('a'):rep(40) .. 'b')", r"own"),
    "memory": ("local t = {}\nwhile true do t[#t + 1] = ('x'):rep(1000) .. #t end", r"own"),
    "memory-in-pcall": ("local t = {}\nwhile true do pcall(function() t[#t + 1] = ('x'):rep(100000) .. #t end) end", r"own"),
    "large-table": ("local t = {}\nfor i = 1, 1e9 do t[i] = i end", r"own"),
    "concat": ("local s = 'x'\nwhile true do s = s .. s end", r"own"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_default_plan_answers(lab, case):
    """Goal: whatever a policy does, the request is answered by its targets in order, and the gateway lives on."""
    code, where = FAILURES[case]
    up = lab.upstream(actions.ok("by the default plan"))
    gw = lab.policy({"p": up}, code)
    before = counted(gw)
    answer = gw.chat()
    assert (answer.status, answer.text) == (200, "by the default plan")
    assert gw.wait_log(rf"^(?=.*{where}).*generation")
    assert counted(gw) > before
    entry = gw.entry(answer)
    assert [a["target"] for a in entry["attempts"]] == ["p/p-model"]
    assert gw.chat().status == 200


def test_default_plan_order(lab):
    """Goal: the default plan tries the targets in order, once each."""
    ups = {n: lab.upstream(actions.fail(500)) for n in ("a", "b")} | {"c": lab.upstream(actions.ok("from c"))}
    gw = lab.policy(ups, "error('no')")
    assert gw.chat().text == "from c"
    assert [up.count for up in ups.values()] == [1, 1, 1]


def test_default_plan_in_vain(lab):
    """Goal: when all of them fail, the last answer is given."""
    ups = {"a": lab.upstream(actions.fail(500)), "b": lab.upstream(actions.fail(503, "the last"))}
    answer = lab.policy(ups, "error('no')").chat()
    assert answer.status == 503 and answer.json()["error"]["message"] == "the last"
    assert answer.header("x-should-retry") == "false"


def test_failure_after_an_attempt(lab):
    """Goal: when an attempt was already made in vain its answer is given, and nobody else is asked."""
    p, q = lab.upstream(actions.fail(429, "too fast")), lab.upstream(actions.ok())
    gw = lab.policy({"p": p, "q": q}, "req:send('p/m')\nerror('after it')")
    answer = gw.chat()
    assert answer.status == 429 and answer.json()["error"]["message"] == "too fast"
    assert (p.count, q.count) == (1, 0) and gw.wait_log(r"own\.lua:7")


def test_failure_after_an_attempt_without_answer(lab):
    """Goal: … or an error of the gateway's own."""
    gw = lab.policy({"p": lab.refusing(), "q": lab.upstream()}, "req:send('p/m')\nerror('after it')")
    answer = gw.chat()
    assert answer.status in (500, 502)
    assert_openai_error(answer)


def test_loop_after_an_attempt(lab):
    """Goal: the same for a policy that is killed."""
    p, q = lab.upstream(actions.fail(500, "first")), lab.upstream(actions.ok())
    answer = lab.policy({"p": p, "q": q}, f"req:send('p/m')\n{LOOP}").chat()
    assert answer.status == 500 and (p.count, q.count) == (1, 0)


@pytest.mark.parametrize("code", ["error('denied')", "return 7", LOOP, "local t = {}\nwhile true do t[#t + 1] = ('x'):rep(9999) end"])
def test_deny(lab, code):
    """Goal: on_error = "deny" answers with an error of the gateway's own, and calls nobody."""
    up = lab.upstream()
    gw = lab.policy({"p": up}, code, route={"on_error": "deny"})
    answer = gw.chat()
    assert_openai_error(answer, 500)
    assert b"denied" not in answer.body and b"own.lua" not in answer.body
    assert up.count == 0


def test_default_plan_without_targets(lab):
    """Goal: settings without targets: a 500 of the gateway's own."""
    gw = lab.policy({"p": lab.upstream()}, "return { name = 'own', version = 1, settings = {}, handle = function() error('x') end }",
                    settings={}, start=False)
    text = (gw.folder / "gateway.lua").read_text()
    gw.write("gateway.lua", re.sub(r'\["targets"\] = \{[^}]*\},?', "", text))
    gw.start()
    assert_openai_error(gw.chat(), 500)


def test_budget_of_a_request(lab):
    """Goal: many resumes that each take a little are stopped too."""
    up = lab.upstream(actions.ok("by the default plan"))
    gw = lab.policy({"p": up}, "local m = require 'moongate' while true do local t = m.now() + 0.003 repeat until m.now() > t req:sleep(0.001) end")
    answer = gw.chat()
    assert answer.status == 200 and answer.text == "by the default plan"


def test_others_are_served_meanwhile(lab):
    """Goal: one route's bad policy leaves the other requests alone."""
    up = lab.upstream(actions.ok())
    gw = lab.policy({"p": up}, """
    if req:header("x-bad") then local t = {} while true do t[#t + 1] = ("x"):rep(5000) .. #t end end
    return req:send("p/good")
""")
    for _ in range(10):
        bad = gw.open_chat(stream=False, headers={"X-Bad": "1"})
        assert gw.chat().header("x-moongate-target") == "p/good"
        assert bad.read().status == 200
        bad.close()
    wait_until(lambda: counted(gw) >= 10)


def test_error_text_stays_inside(lab):
    """Goal: what a policy raises is for the log, never for the client."""
    gw = lab.policy({"p": lab.refusing()}, "error('internal detail 4711')")
    answer = gw.chat()
    assert b"4711" not in answer.body and answer.status >= 500
    assert gw.wait_log("4711")


MOST = 10  # failures in a row


def switched_off(gw):
    return gw.metric("moongate_policy_switched_off", policy="own")


def failures(gw):
    return gw.metric("moongate_policy_failures_total")


@pytest.mark.parametrize("code", ["error('broken')", LOOP, "return 7"], ids=["error", "kill", "nothing-useful"])
def test_switched_off(lab, code):
    """Goal: a policy that fails ten times in a row, over all workers, is not run any more; the default plan goes on
    answering, the log says so once, and a reload brings the policy back, even one of the same files."""
    gw = lab.policy({"p": lab.upstream(actions.ok("by the default plan"))}, code)
    for _ in range(MOST - 1):
        assert gw.chat().text == "by the default plan"
    assert switched_off(gw) == 0 and "switched off" not in gw.stderr
    for _ in range(4):
        assert gw.chat().text == "by the default plan"
    line = gw.wait_log("switched off")
    assert re.search(r"policies/own\.lua: policy failed 10 times in a row .* generation 1:", line), line
    assert switched_off(gw) == 1 and failures(gw) == MOST
    assert gw.metric("moongate_default_plans_total") == MOST + 3
    assert gw.stderr.count("is switched off") == 1
    gw.reload("is in force")
    assert switched_off(gw) == 0
    assert gw.chat().text == "by the default plan" and failures(gw) == MOST + 1


def test_switched_off_denies(lab):
    """Goal: on_error = "deny" goes on denying, and nobody is called."""
    up = lab.upstream()
    gw = lab.policy({"p": up}, "error('broken')", route={"on_error": "deny"})
    for _ in range(MOST + 3):
        assert_openai_error(gw.chat(), 500)
    assert switched_off(gw) == 1 and failures(gw) == MOST and up.count == 0


def test_not_in_a_row(lab):
    """Goal: one success starts the count anew."""
    gw = lab.policy({"p": lab.upstream(actions.ok())}, """
    if req:header("x-bad") then error("on demand") end
    return req:send("p/m")
""")
    for bad in ([True] * (MOST - 1) + [False]) * 2 + [True]:
        assert gw.chat(headers={"X-Bad": "1"} if bad else {}).status == 200
    assert switched_off(gw) == 0 and failures(gw) == 2 * MOST - 1


def test_streams_that_fail(lab):
    """Goal: a policy whose handler returns but whose local stream always fails is switched off as well."""
    gw = lab.policy({"p": lab.upstream(actions.ok("by the default plan"))},
                    "return req:respond { stream = function(out) out:write('x') error('in the stream') end }")
    for _ in range(MOST):
        assert not gw.chat().clean
    assert gw.chat().text == "by the default plan" and switched_off(gw) == 1


def test_others_stay_on(lab):
    """Goal: only the policy that fails is switched off."""
    up = lab.upstream(actions.ok())
    gw = lab.gateway({"providers": {"p": {"dialect": "openai", "base_url": up.base_url}}, "routes": [
        {"name": name, "path": f"/v1/{name}/*", "policy": name, "settings": {"targets": ["p/m"]}}
        for name in ("failover", "broken")]}, policies={"broken": wrap("error('x')")}).start()
    for _ in range(MOST + 1):
        assert gw.chat(target="/v1/broken/chat/completions").status == 200
        assert gw.chat(target="/v1/failover/chat/completions").status == 200
    off = {s.labels["policy"]: s.value for s in gw.metrics() if s.name == "moongate_policy_switched_off"}
    assert off == {"failover": 0, "broken": 1}
