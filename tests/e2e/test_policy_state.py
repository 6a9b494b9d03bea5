# SPDX-License-Identifier: MIT
"""What policies share: the store, windows, buckets, suspensions, health, metrics and logs."""
import re

import pytest
from support import actions
from support.waiting import wait_until

# A policy that runs one line of Lua chosen by the request; every piece is a function, so that no `load` is needed.
SHELL = """
local moongate = require "moongate"
local failover = require "moongate.failover"
local ops = {
%s
}
return {
  name = "own", version = 1, settings = failover.settings,
  handle = function(req, settings)
    return req:respond { json = { ops[req:json("op")](req, req:json("a"), req:json("b"), req:json("c")) } }
  end,
}
"""


def shell(lab, ops, script=(actions.ok(),), **more):
    """A gateway, and a function that runs one of the ops and returns its results as a list."""
    up = lab.upstream(*script)
    gw = lab.policy({"p": up}, SHELL % ",\n".join(f"  {n} = function(req, a, b, c) {code} end" for n, code in ops.items()), **more)

    def run(op, a=None, b=None, c=None):
        answer = gw.chat(body={"model": "m", "op": op, "a": a, "b": b, "c": c})
        assert answer.status == 200, (answer.body, gw.stderr[-1500:])
        got = answer.json()
        return got if isinstance(got, list) else [got[k] for k in sorted(got)]
    return gw, up, run


STORE = {
    "get": "local v = moongate.store('t'):get(a) return v == nil and 'nil' or v",
    "set": "return moongate.store('t'):set(a, b, c) and true or false",
    "add": "return moongate.store('t'):add(a, b, c) and true or false",
    "incr": "return moongate.store('t'):incr(a, b, c)",
    "cas": "return moongate.store('t'):cas(a, b, c) and true or false",
    "del": "moongate.store('t'):del(a) return true",
    "ttl": "local t = moongate.store('t'):ttl(a) return t == nil and 'nil' or t",
    "other": "local v = moongate.store('other'):get(a) return v == nil and 'nil' or v",
    "big": "local ok, r = pcall(function() return moongate.store('t'):set(a, ('x'):rep(b)) end) return ok and r or false",
    "table": "return (pcall(function() return moongate.store('t'):set(a, {}) end))",
}


def test_store(lab):
    """Goal: every operation of the store, seen by all workers, in its own namespace."""
    gw, _, run = shell(lab, STORE, config={"workers": 4})
    for _ in range(8):
        assert run("incr", "n") == [_ + 1]
    assert run("incr", "n", 2.5) == [10.5]
    assert run("get", "none") == ["nil"]
    assert run("set", "k", "text") == [True] and run("get", "k") == ["text"]
    assert run("set", "k", True) == [True] and run("get", "k") == [True]
    assert run("set", "k", 1.25) == [True] and run("get", "k") == [1.25]
    assert run("other", "k") == ["nil"]
    assert run("add", "k", 1) == [False] and run("add", "fresh", 1) == [True]
    assert run("cas", "k", 9, 10) == [False] and run("cas", "k", 1.25, 10) == [True] and run("get", "k") == [10]
    assert run("del", "k") == [True] and run("get", "k") == ["nil"]
    assert run("big", "l", 4096) == [True] and run("big", "l", 4097) == [False]
    assert run("table", "x") == [False]


def test_store_ttl(lab):
    """Goal: what has a time to live is gone after it."""
    _, _, run = shell(lab, STORE)
    assert run("incr", "long", 1, 300) == [1]
    assert 0 < run("ttl", "long")[0] <= 300
    assert run("set", "k", 1, 0.5) == [True]
    assert run("incr", "m", 1, 0.5) == [1]
    wait_until(lambda: run("get", "k") == ["nil"], "the key to expire")
    wait_until(lambda: run("incr", "m", 1, 30) == [1], "the counter to start again")
    assert run("set", "forever", 1) == [True] and run("get", "forever") == [1]


def test_store_is_bounded(lab):
    """Goal: a full store says so, and is counted; old keys stay."""
    gw, _, run = shell(lab, {**STORE, "fill": """
      local s = moongate.store('t')
      for i = a, b do
        local ok, why = s:set('key' .. i, 1)
        if not ok then return i, why end
      end
      return b, 'room'"""})
    got, step = None, 250
    for start in range(0, 90000, step):
        for _ in range(5):      # a call may be stopped for its CPU time; filling twice does no harm
            got = run("fill", start, start + step - 1)
            if got[-1] in ("room", "full"):
                break
        if got[-1] != "room":
            break
    assert got[1] == "full" and run("get", "key0") == [1]
    assert gw.metric(r"moongate_store_.*full.*|moongate_store_.*refused.*|moongate_store_.*rejected.*") >= 1


def test_window(lab):
    """Goal: a window counts what was added in its last seconds, and forgets."""
    _, _, run = shell(lab, {"add": "local w = moongate.window('n', a, b) w:add(c) return w:count()",
                            "count": "return moongate.window('n', a, b):count()"})
    assert run("add", "long", 300) == [1] and run("add", "long", 300, 3) == [4] and run("count", "long", 300) == [4]
    run("add", "short", 0.5)
    wait_until(lambda: run("count", "short", 0.5) == [0], "the window to empty")


def test_bucket(lab):
    """Goal: a bucket gives its burst at once, then by its rate."""
    _, _, run = shell(lab, {"take": "return moongate.bucket('n', a, b, 3):take(c) and true or false"})
    assert [run("take", "slow", 0.001)[0] for _ in range(4)] == [True] * 3 + [False]
    assert run("take", "quick", 2, 3) == [True]
    wait_until(lambda: run("take", "quick", 2) == [True], "the bucket to fill again")
    assert run("take", "quick", 2, 100) == [False]


HEALTH = {
    "send": "local x = req:send('p/m', { force = a }) return x.outcome",
    "health": "local h = moongate.health('p/m') return h[a] == nil and 'nil' or h[a]",
    "suspend": "return moongate.suspend('p/m', a, 'because') >= 0",
    "resume": "moongate.resume('p/m') return true",
}


def test_suspend_and_resume(lab):
    """Goal: a suspended target is not called, unless forced; the later deadline wins; resume ends it."""
    gw, up, run = shell(lab, HEALTH)
    assert run("send") == ["ok"] and up.count == 1
    assert run("suspend", 100) == [True]
    assert run("send") == ["suspended"] and up.count == 1
    assert run("send", True) == ["ok"] and up.count == 2
    run("suspend", 1)
    assert 90 < run("health", "suspended_for")[0] <= 100
    assert run("health", "reason") == ["because"]
    assert 90 < gw.facts("p/m")["suspended_for"] <= 100 and gw.facts("p/m")["reason"] == "because"
    run("resume")
    assert run("send") == ["ok"] and run("health", "suspended_for") == [0]


def test_returned_suspended_attempt(lab):
    """Goal: an attempt that was not made because of a suspension is a 503 with Retry-After."""
    gw = lab.policy({"p": lab.upstream()}, "moongate.suspend('p/m', 40, 'x')\nreturn req:send('p/m')")
    answer = gw.chat()
    assert answer.status == 503 and 1 <= int(answer.header("retry-after")) <= 40
    assert answer.json()["error"]["message"]


def test_suspensions_outlive_reload_and_restart(lab):
    """Goal: suspensions survive a reload, and through the state file a restart."""
    up = lab.upstream(actions.fail(500), actions.ok())
    gw = lab.failover({"p": up}, {"suspend": 300}, config={"state_dir": "state"})
    assert gw.chat().status == 500 and gw.chat().status == 503
    gw.write("gateway.lua", (gw.folder / "gateway.lua").read_text() + "-- touched\n")
    gw.reload()
    assert gw.chat().status == 503
    gw.stop()
    again = lab.gateway((gw.folder / "gateway.lua").read_text())
    again.folder = gw.folder
    (gw.folder / "stderr").unlink()
    again.start()
    assert again.chat().status == 503 and up.count == 1
    assert again.facts("p/p-model")["suspended_for"] > 200


def test_health_facts(lab):
    """Goal: the facts about a target, counted from what happened to it."""
    _, _, run = shell(lab, HEALTH, (actions.ok(delay=0.2), actions.fail(500), actions.fail(500), actions.ok()))
    assert run("health", "up") == [True] and run("health", "inflight") == [0]
    for _ in range(3):
        run("send")
    assert run("health", "successes") == [1] and run("health", "failures") == [2]
    assert run("health", "ewma_total")[0] > 0
    assert abs(run("health", "streak")[0]) == 2


def test_caller_faults_are_no_failures(lab):
    """Goal: what is the caller's fault is not held against the target."""
    _, _, run = shell(lab, HEALTH, (actions.fail(400), actions.fail(422), actions.ok()))
    run("send")
    run("send")
    assert run("health", "failures") == [0]


def test_small_functions(lab):
    """Goal: clocks, randomness, JSON, hashes and merge."""
    _, _, run = shell(lab, {
        "now": "return moongate.now(), moongate.wall()",
        "random": "local l, h, n = 1, 0, 0 for _ = 1, 200 do local x = moongate.random() l = math.min(l, x) h = math.max(h, x) "
                  "local d = moongate.random(6) if d < 1 or d > 6 or d % 1 ~= 0 then n = n + 1 end end return l, h, n",
        "json": "return moongate.json({ a = { 1, 2, 'x' } })",
        "hash": "return moongate.hash(a), moongate.hash(a), moongate.hash(a .. 'y')",
        "merge": "local x = { k = 1, t = { p = 1, q = 2 } } local y = moongate.merge(x, { t = { p = 3 }, n = 4 }) y.k = 5 "
                 "return x.k, y.k, y.t.p, y.t.q == nil, y.n, x.n == nil",
    })
    first, second = run("now"), run("now")
    assert second[0] >= first[0] and second[1] > 1.7e9
    low, high, wrong = run("random")
    assert 0 <= low < 0.3 and 0.7 < high < 1 and wrong == 0
    assert run("json") == ['{"a":[1,2,"x"]}']
    a, b, c = run("hash", "x")
    assert a == b != c and a >= 0
    # SHA-256 of "x" begins 2d711642b726: the same in every process.
    assert a == 0x2d711642b726
    assert run("merge") == [1, 5, 3, True, 4, True]


def test_metric_and_log(lab):
    """Goal: a policy's own metrics appear with its labels; its log lines appear with their level."""
    gw, _, run = shell(lab, {"count": "moongate.metric('tests_seen', a, { colour = b }) return true",
                             "log": "moongate.log(a, b) return true"})
    run("count", 1, "red")
    run("count", 2.5, "red")
    run("count", 1, 'b"l\\ue\n')
    seen = [s for s in gw.metrics() if s.name == "moongate_custom_tests_seen_total"]
    assert sum(s.value for s in seen if s.labels["colour"] == "red") == 3.5
    assert sum(s.value for s in seen) == 4.5
    run("log", "warn", "a line\nof the policy")
    line = gw.wait_log("a line")
    assert re.search("warn", line, re.I) and "of the policy" in gw.stderr
    assert not any(re.match("of the policy", t) for t in gw.stderr.splitlines()), "a line break was written raw"
    run("log", "debug", "too quiet")
    run("log", "error", "loud")
    gw.wait_log("loud")
    assert "too quiet" not in gw.stderr


@pytest.mark.parametrize("module", ["order", "trigger", "retry", "breaker", "failover"])
def test_library_modules(lab, module):
    """Goal: the library can be required by policies."""
    _, _, run = shell(lab, {"kind": f"return type(require 'moongate.{module}')"})
    assert run("kind") == ["table"]


def test_own_modules(lab):
    """Goal: policies share code by modules in lua/ beside the configuration."""
    gw = lab.policy({"p": lab.upstream()}, "return req:respond { json = { require('mine.words').word } }",
                    modules={"mine/words": "return { word = 'shared' }"})
    assert gw.chat().json() == ["shared"]


@pytest.mark.parametrize("order", ["listed", "round_robin", "weighted", "least_busy", "fastest", "cheapest", "sticky"])
def test_orders_of_the_library(lab, order):
    """Goal: every order serves, and fails over when its choice fails."""
    ups = {n: lab.upstream(actions.ok(n), actions.fail(500)) for n in ("a", "b")}
    gw = lab.failover({**ups, "last": lab.upstream(actions.ok("last"))}, {"order": order, "targets": [
        {"target": "a/m", "cost": 1}, {"target": "b/m", "cost": 2}, {"target": "last/m", "cost": 3}]})
    for _ in range(6):
        assert gw.chat(headers={"X-Session-Id": "s"}).status == 200


def test_cheapest_and_least_busy(lab):
    """Goal: the cheapest goes first; the one that is not busy goes first."""
    ups = {n: lab.upstream(actions.ok(n)) for n in ("dear", "cheap")}
    gw = lab.failover(ups, {"order": "cheapest", "targets": [{"target": "dear/m", "cost": 9}, {"target": "cheap/m", "cost": 1}]})
    assert [gw.chat().text for _ in range(3)] == ["cheap"] * 3
    busy, free = lab.upstream(actions.silence()), lab.upstream(actions.ok("free"))
    gw = lab.failover({"busy": busy, "free": free}, {"order": "least_busy"})
    held = [gw.open_chat(stream=False)]
    wait_until(lambda: busy.count + free.count >= 1)
    while busy.count == 0:
        held.append(gw.open_chat(stream=False))
        wait_until(lambda: busy.count + free.count >= len(held))
    assert [gw.chat().text for _ in range(4)] == ["free"] * 4
    for c in held:
        c.close()
