# SPDX-License-Identifier: MIT
"""
SCENARIOS.tsv, group K: reloads that fail, that leak, that run under load, and what a breaker remembers.

Memory is measured on the build without sanitizers (build/moongate, which `make test` builds too): under ASan freed memory stays with the process.
"""
import pytest
from support import actions, growth, storm
from support.client import chat_body
from support.gateway import PLAIN
from support.growth import MIB
from support.rules import ADMIN, Rules
from support.waiting import wait_until


@pytest.fixture
def plain(lab):
    """Starts a gateway of the build without sanitizers: plain(providers, settings)."""
    def start(providers, settings=None):
        gw = lab.failover(providers, settings, policy="own", policies={"own": growth.POLICY % 0},
                          config={"admin": ADMIN, "state_dir": "state", "workers": 1, "log": {"access": "off"}}, start=False)
        gw.binary = PLAIN
        return gw.start()
    return start


RAISING = {
    "error": ("error('no such luck')\n", 1, "no such luck"),
    "nil-call": ("local nothing\n\nnothing()\n", 3, "nothing"),
    "require": ("return {\n  handle = function() end,\n  x = require \"missing_module\",\n}\n", 3, "missing_module"),
    "error-object": ("error({ code = 7 })\n", None, ""),
    "endless": ("while true do end\n", None, ""),
}


@pytest.mark.parametrize("case", RAISING)
def test_K01_reload_that_fails(lab, case):
    """Goal: under 200 requests a second a script that raises while loading is refused, with the reason; all answers are 200 and the old policy's."""
    text, line, word = RAISING[case]
    gw, over = storm.start(lab)
    with storm.Storm(gw, rate=200, streams=2, over=over) as s:
        for _ in range(3):
            gw.write("policies/stamped1.lua", text)
            diagnostics = s.rules.refused()
            mine = [d for d in diagnostics if d["file"].endswith("policies/stamped1.lua")]
            assert mine and (line is None or mine[0]["line"] == line), diagnostics
            assert word in mine[0]["message"], diagnostics
            asked = len(s.answers)
            wait_until(lambda: s.problems or len(s.answers) > asked + 8, "requests after the refusal")
        assert s.rules.active == 1
        refused = s.rules.get("/admin/generations")["last_refused"]
        assert refused["diagnostics"] == diagnostics and "admin" in refused["who"]
    s.check()
    s.check_log()
    assert {stamp for _, _, stamp, _ in s.answers} == {0}


def test_K02_reload_does_not_leak(lab, plain):
    """Goal: memory after 1,000 reloads is within 5 MiB of what it was after 100; every request among them is a 200."""
    gw = plain({"p": lab.upstream(actions.ok())})
    rules = Rules(gw)
    with gw.client() as c:
        def ask(n):
            if n % 5 == 0:
                assert c.request("POST", "/v1/chat/completions", body=chat_body()).read().status == 200, n
        growth.reload_many(gw, rules, 100, between=ask)
        early = growth.size(gw)
        growth.reload_many(gw, rules, 900, first=101, between=ask)
    late = growth.size(gw)
    print(f"after 100: {early}; after 1,000: {late}")
    assert late.rss - early.rss <= 5 * MIB, (str(early), str(late))
    assert late.threads == early.threads and late.fds <= early.fds + 1, (str(early), str(late))
    assert len(rules.generations()) <= 5


def test_K02_refused_reloads_do_not_leak(lab, plain):
    """Goal: nor do reloads that are refused, of scripts which fail after they have allocated."""
    gw = plain({"p": lab.upstream(actions.ok())})
    rules = Rules(gw)

    def refuse(times):
        for n in range(times):
            gw.write("policies/own.lua", f"local t = {{}}\nfor n = 1, 2000 do t[n] = 'x' .. n end\nerror('number {n}')\n")
            assert f"number {n}" in rules.refused()[0]["message"]
    refuse(60)
    early = growth.size(gw)
    refuse(300)
    late = growth.size(gw)
    assert late.rss - early.rss <= 5 * MIB and late.threads == early.threads and late.fds <= early.fds + 1, (str(early), str(late))
    assert gw.chat().status == 200 and rules.active == 1


def test_K03_reload_under_load(lab):
    """Goal: 50 reloads with changed text under 200 requests/s and 20 open streams: nothing fails, streams are whole, one version for each request."""
    gw, over = storm.start(lab)
    with storm.Storm(gw, rate=200, streams=20, over=over) as s:
        s.reload(50, broken=False, pace=0.1)
    s.check()
    s.check_log()
    assert len(s.applied) == 51


def test_K06_open_breaker_outlives_reloads(lab, plain):
    """Goal: a breaker that is open stays open over 500 reloads, as documented; threads, descriptors and memory do not grow."""
    p = lab.upstream(actions.fail(500))
    gw = plain({"p": p}, {"breaker": {"failures": 3, "recovery": 600}})
    rules = Rules(gw)
    assert [gw.chat().status for _ in range(4)] == [500, 500, 500, 503] and p.count == 3
    with gw.client() as c:
        def ask(n):
            assert c.request("POST", "/v1/chat/completions", body=chat_body()).read().status == 503, n
        growth.reload_many(gw, rules, 50, between=ask)
        early = growth.size(gw)
        growth.reload_many(gw, rules, 450, first=51, between=ask)
    late = growth.size(gw)
    assert p.count == 3 and gw.facts("p/p-model")["breaker"] == "open"
    assert late.threads == early.threads and late.fds <= early.fds + 1, (str(early), str(late))
    assert late.rss - early.rss <= 5 * MIB, (str(early), str(late))


def test_K06_breaker_counts_over_reloads(lab):
    """Goal: failures in a row are counted over reloads, a half-open breaker's probe closes it after one, and its time runs on."""
    p = lab.upstream(*[actions.fail(500)] * 3, actions.ok("well again"))
    gw = lab.failover({"p": p}, {"breaker": {"failures": 3, "recovery": 0.5}}, policy="own", policies={"own": growth.POLICY % 0},
                      config={"admin": ADMIN})
    rules = Rules(gw)
    for n in range(1, 4):
        assert gw.chat().status == 500
        gw.write("policies/own.lua", growth.POLICY % n)
        rules.apply()
    assert gw.facts("p/p-model")["breaker"] in ("open", "half_open")
    answer = wait_until(lambda: (a := gw.chat()).status == 200 and a, "the breaker to let a probe through")
    assert answer.text == "well again" and p.count == 4
    growth.reload_many(gw, rules, 1, first=4)
    assert gw.facts("p/p-model")["breaker"] == "closed" and gw.chat().status == 200
