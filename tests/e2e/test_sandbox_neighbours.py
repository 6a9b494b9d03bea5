# SPDX-License-Identifier: MIT
"""Policies that run away, on the only worker: the neighbours go on, the request is answered, log and metrics say why."""
import statistics
import threading
import time

import pytest
from support import actions

LOOP = "while true do end"
LOOPS = f"local function loop() {LOOP} end\n"
HUGE = "setmetatable({}, { __len = function() return 1 << 50 end })"

# Row of the attack matrix (TRAPS 1.2): what the handler does, and how it ends: the kill reason, None = refused by an error.
ATTACKS = {
    "endless-loop": (LOOP, "stretch"),
    "pcall-loop": (LOOPS + "while true do pcall(loop) end", "stretch"),
    "recursive-pcall": ("local function f() pcall(f) pcall(f) end\nf()", "stretch"),
    "xpcall-looping-handler": (LOOPS + "xpcall(loop, loop)", "stretch"),
    "xpcall-looping-comparator": (LOOPS + "xpcall(function() table.sort({ 3, 2, 1 }, loop) end, loop)", "stretch"),
    "coroutine": (f"coroutine.wrap(function() {LOOP} end)()", None),
    "comparator": (LOOPS + "table.sort({ 3, 2, 1 }, loop)", "stretch"),
    "gsub-callback": (LOOPS + "local s = ('x'):gsub('x', loop)", "stretch"),
    "close": (f"local x <close> = setmetatable({{}}, {{ __close = function() {LOOP} end }})", "stretch"),
    "gc": (f"setmetatable({{}}, {{ __gc = function() {LOOP} end }})", None),
    "rep-of-nothing": ("while true do local s = (''):rep(1 << 62) end", "stretch"),
    "rep-large": ("local s = ('x'):rep(60000000)", None),
    "move": ("table.move({}, 1, 1 << 50, 2)", None),
    "insert-len": (f"table.insert({HUGE}, 'x')\n{LOOP}", "stretch"),
    "remove-len": (f"table.remove({HUGE})\n{LOOP}", "stretch"),
    "lazy-pattern": ("while true do pcall(string.find, ('a'):rep(50000), '.-.-.-.-b') end", "stretch"),
    "optional-pattern": ("while true do pcall(string.find, ('a'):rep(40), ('a?'):rep(40) .. ('a'):rep(40)) end", "stretch"),
    "table-of-a-billion": ("local t = {}\nfor i = 1, 1000000000 do t[i] = i end", "stretch"),
    "memory": ("local s = ('x'):rep(1 << 20)\nlocal t = s .. s .. s", "memory"),
    "load": ("load(function() return 'x = 1 ' end)", None),
    "many-stretches": ("local m = require 'moongate' while true do local t = m.now() + 0.003 repeat until m.now() > t req:sleep(0.001) end", "request"),
}

TIMES = 5      # fewer than switch a policy off
BASELINE = 30  # requests of the neighbour before the attacks
# A killed attack costs the neighbour its 5 ms, twice that at most (the unit tests hold the sandbox to it by the CPU
# clock, which noise cannot break). Here only what no busy machine explains fails: the hangs of the matrix are longer
# than 3 s each, and TIMES of them longer still.
SLACK = 2.0


def delays(gw, count=None, until=None):
    """How long the neighbour's requests take, one after the other on one connection."""
    out = []
    with gw.client() as client:
        while len(out) < count if count else not until():
            started = time.monotonic()
            answer = client.request("POST", "/v1/good/chat/completions", (), {"model": "m", "messages": []}).read()
            out.append(time.monotonic() - started)
            assert answer.status == 200
    return out


def two_routes(lab, attack):
    up = lab.upstream(actions.ok("by the targets"))
    handler = "return { name = 'bad', version = 1, settings = require('moongate.failover').settings, handle = function(req)\n"
    return lab.gateway({
        "workers": 1, "providers": {"p": {"dialect": "openai", "base_url": up.base_url, "api_key": "sk-provider-p"}},
        "routes": [{"name": name, "path": f"/v1/{name}/*", "policy": policy, "settings": {"targets": ["p/m"]}}
                   for name, policy in (("bad", "bad"), ("good", "failover"))],
    }, policies={"bad": handler + attack + "\nend }\n"}).start()


@pytest.mark.parametrize("row", ATTACKS)
def test_neighbours(lab, row):
    """Goal: the attack ends, the attacked request is answered by its targets, the neighbour waits no longer than that,
    and the kill reason stands in the log and in the metrics."""
    attack, reason = ATTACKS[row]
    gw = two_routes(lab, attack)
    before = delays(gw, count=BASELINE)
    answers = []

    def attacker():
        for _ in range(TIMES):
            answers.append(gw.chat(target="/v1/bad/chat/completions"))

    thread = threading.Thread(target=attacker)
    thread.start()
    during = delays(gw, until=lambda: not thread.is_alive())
    thread.join()
    assert [(a.status, a.text) for a in answers] == [(200, "by the targets")] * TIMES
    assert max(during, default=0) < max(before) + SLACK, (before, during)
    assert statistics.median(during or [0]) < statistics.median(before) + SLACK / 10, (before, during)
    line = gw.wait_log(r"policies/bad\.lua:.*generation 1")
    kills = {name: gw.metric("moongate_policy_kills_total", policy="bad", reason=name)
             for name in ("stretch", "request", "memory")}
    assert kills == {name: TIMES * (name == reason) for name in kills}
    assert (f"kill reason {reason}" in line) if reason else ("kill reason" not in line), line
    entries = [gw.entry(a) for a in answers]
    assert all(set(e["policy_used"]) == {"cpu_us", "steps", "bytes"} for e in entries)
    if reason in ("stretch", "request"):
        assert all(e["policy_used"]["cpu_us"] >= 5000 and e["policy_used"]["steps"] > 0 for e in entries), entries


def test_account(lab):
    """Goal: more work shows as more steps and bytes, in the access log and in the metrics."""
    gw = lab.policy({"p": lab.upstream(actions.ok())}, """
    local t = {}
    for i = 1, tonumber(req:header("x-work") or "0") do t[i] = { i } end
    return req:send("p/m")
""")
    answers = [gw.chat(headers={"X-Work": work}) for work in ("0", "3000")]
    assert [a.status for a in answers] == [200, 200]
    idle, busy = (gw.entry(a)["policy_used"] for a in answers)
    assert idle["steps"] < 3000 < busy["steps"] and busy["bytes"] > idle["bytes"] + 3000 * 16
    assert gw.metric("moongate_policy_steps_total", policy="own") == idle["steps"] + busy["steps"]
    assert gw.metric("moongate_policy_cpu_seconds_total", policy="own") == pytest.approx(
        (idle["cpu_us"] + busy["cpu_us"]) / 1e6)
