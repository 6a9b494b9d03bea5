# SPDX-License-Identifier: MIT
"""SCENARIOS.tsv, group D: breakers, suspensions, and what must not count against a target."""
import select
import threading

from support import actions
from support.client import assert_openai_error
from support.waiting import wait_until


def counts(*ups):
    return [up.count for up in ups]


def statuses(gw, n):
    return [gw.chat().status for _ in range(n)]


def failing_first(*numbers, status=500):
    """A script's action for several upstreams: calls with these numbers, counted over all of them, fail."""
    seen = []

    def act(call):
        seen.append(1)
        (actions.fail(status) if len(seen) in numbers else actions.ok())(call)
    return act


def test_D01_breaker_opens(lab):
    """Goal: after three failures in a row the target is left alone, and the gateway answers by itself."""
    p = lab.upstream(actions.ok(), actions.fail(500), actions.fail(503), actions.fail(500), actions.ok())
    gw = lab.failover({"p": p}, {"breaker": {"failures": 3, "recovery": 60}})
    assert statuses(gw, 4) == [200, 500, 503, 500]
    for _ in range(2):
        answer = gw.chat()
        assert_openai_error(answer, 503)
        assert 1 <= int(answer.header("retry-after")) <= 61
    assert p.count == 4
    assert gw.facts("p/p-model")["breaker"] == "open"


def test_D02_successes_reset(lab):
    """Goal: failures that are not in a row never open the breaker."""
    script = [500, 500, 200, 200, 200, 500, 500]
    p = lab.upstream(*[actions.answer(s) for s in script])
    gw = lab.failover({"p": p}, {"breaker": {"failures": 3, "recovery": 60}})
    assert statuses(gw, 7) == script
    assert p.count == 7 and gw.facts("p/p-model")["breaker"] == "closed"


def test_D03_trial_after_recovery(lab):
    """Goal: after the recovery time one trial closes the breaker again."""
    p = lab.upstream(*[actions.fail(500)] * 3, actions.ok())
    gw = lab.failover({"p": p}, {"breaker": {"failures": 3, "recovery": 1}})
    assert statuses(gw, 3) == [500] * 3
    wait_until(lambda: gw.chat().status == 200, "the breaker to let a trial through")
    assert statuses(gw, 4) == [200] * 4
    assert p.count == 8
    assert p.requests[3].at - p.requests[2].at >= 0.98
    assert gw.facts("p/p-model")["breaker"] == "closed"


def test_D03_failed_trial_opens_again(lab):
    """Goal: a trial that fails opens the breaker for another recovery time."""
    p = lab.upstream(*[actions.fail(500)] * 3, actions.ok())
    gw = lab.failover({"p": p}, {"breaker": {"failures": 2, "recovery": 0.6}})
    assert statuses(gw, 2) == [500, 500]
    wait_until(lambda: gw.chat().status == 500, "the trial")
    assert p.count == 3 and p.requests[2].at - p.requests[1].at >= 0.58
    wait_until(lambda: gw.chat().status == 200, "the second trial")
    assert p.requests[3].at - p.requests[2].at >= 0.58


def test_D03_one_trial_at_a_time(lab):
    """Goal: while the trial is under way, all other requests get the breaker's answer."""
    gate = threading.Event()
    p = lab.upstream(actions.fail(500), actions.ok("trial", gate=gate), actions.ok())
    gw = lab.failover({"p": p}, {"breaker": {"failures": 1, "recovery": 0.3}})
    assert gw.chat().status == 500

    def start_trial():
        c = gw.open_chat(stream=False)
        wait_until(lambda: p.count == 2 or select.select([c.sock], [], [], 0)[0], "an answer or a call")
        return c if p.count == 2 else c.close()
    with wait_until(start_trial, "the trial to be on its way") as trial:
        assert statuses(gw, 3) == [503] * 3
        assert p.count == 2
        gate.set()
        assert trial.read().text == "trial"
    assert statuses(gw, 3) == [200] * 3


def test_D06_all_open_try_anyway(lab):
    """Goal: when_suspended = "try_anyway" makes real attempts although every breaker is open."""
    p, f1 = lab.upstream(actions.fail(500, "real")), lab.upstream(actions.fail(500, "real"))
    gw = lab.failover({"p": p, "f1": f1}, {"breaker": {"failures": 1, "recovery": 60},
                                           "when_suspended": "try_anyway"})
    assert gw.chat().status == 500
    before = p.count + f1.count
    assert before == 2
    answer = gw.chat()
    assert answer.status == 500 and answer.json()["error"]["message"] == "real"
    assert p.count + f1.count > before


def test_D07_all_suspended(lab):
    """Goal: with every target suspended the gateway answers 503 with the soonest recovery, calling nobody."""
    a, b = lab.upstream(actions.fail(500)), lab.upstream(actions.fail(500))
    gw = lab.failover({"a": a, "b": b}, {"suspend": 80, "max_attempts": 1})
    assert statuses(gw, 2) == [500, 500]
    answer = gw.chat()
    assert_openai_error(answer, 503)
    assert 1 <= int(answer.header("retry-after")) <= 80
    assert counts(a, b) == [1, 1]
    assert answer.trail == []


def test_D08_suspension_ends(lab):
    """Goal: a failed target is left alone for its time, then is back in rotation."""
    script = failing_first(1)
    a, b = lab.upstream(script), lab.upstream(script)
    gw = lab.failover({"a": a, "b": b}, {"order": "round_robin", "suspend": 1.5, "max_attempts": 1})
    assert gw.chat().status == 500
    bad, good, name = (a, b, "a/a-model") if a.count else (b, a, "b/b-model")
    assert statuses(gw, 2) == [200, 200]
    wait_until(lambda: not gw.suspended(name), "the suspension to end")
    before = counts(bad, good)
    assert statuses(gw, 4) == [200] * 4
    assert counts(bad, good) == [n + 2 for n in before]
    assert bad.requests[1].at - bad.requests[0].at >= 1.48


def test_D08_nothing_is_remembered_without_suspend(lab):
    """Goal: suspend = 0 (the default) tries the failing target for every request."""
    a, b = lab.upstream(actions.fail(500)), lab.upstream(actions.ok())
    gw = lab.failover({"a": a, "b": b})
    assert statuses(gw, 3) == [200] * 3
    assert counts(a, b) == [3, 3] and not gw.suspended("a/a-model")


def test_D10_caller_faults_cool_nothing(lab):
    """Goal: a 400 never suspends a target."""
    p = lab.upstream(actions.fail(400), actions.ok())
    gw = lab.failover({"p": p}, {"suspend": 300, "breaker": {"failures": 1, "recovery": 300}})
    assert statuses(gw, 2) == [400, 200] and p.count == 2


def test_D12_breaker_by_ratio(lab):
    """Goal: the target that fails three times in five is taken out; those that fail once in five stay."""
    def every(*pattern):
        return [actions.answer(s) for _ in range(60) for s in pattern]
    bad = lab.upstream(*every(500, 500, 200, 500, 200))
    good = [lab.upstream(*every(200, 200, 200, 200, 500)) for _ in range(2)]
    gw = lab.failover({"bad": bad, "g1": good[0], "g2": good[1]}, {
        "order": "round_robin", "max_attempts": 1, "trigger": "errors",
        "breaker": {"ratio": 0.5, "requests": 10, "window": 60, "recovery": 300}})
    got = statuses(gw, 150)
    assert 10 <= bad.count < 25
    late = got[75:]
    assert late.count(200) / len(late) >= 0.75
    facts = gw.targets()
    assert facts["bad/bad-model"]["breaker"] == "open"
    assert facts["g1/g1-model"]["breaker"] == facts["g2/g2-model"]["breaker"] == "closed"


def test_D13_each_failure_counts_for_its_target(lab):
    """Goal: both targets that failed in one request are suspended; the next request calls nobody."""
    a, b = lab.upstream(actions.fail(429)), lab.upstream(actions.fail(429))
    gw = lab.failover({"a": a, "b": b}, {"suspend": 300, "max_attempts": 2})
    assert gw.chat().status == 429
    assert_openai_error(gw.chat(), 503)
    assert counts(a, b) == [1, 1]


def test_D15_hint_lengthens_the_suspension(lab):
    """Goal: a 429 takes the target out for its hint, not only for the configured time."""
    a, b = lab.upstream(actions.fail(429, headers={"Retry-After": "4"}), actions.ok()), lab.upstream(actions.ok())
    gw = lab.failover({"a": a, "b": b}, {"order": "round_robin", "suspend": 0.05, "max_attempts": 1})
    first = statuses(gw, 20)
    assert first.count(429) <= 1
    wait_until(lambda: not gw.suspended("a/a-model"), "the suspension to end")
    before = a.count
    assert statuses(gw, 30) == [200] * 30
    assert 9 <= a.count - before <= 21
    assert a.requests[1].at - a.requests[0].at >= 3.9


def test_D17_own_answers_count_against_nobody(lab):
    """Goal: what a policy refuses by itself never suspends a target."""
    a, b = lab.upstream(actions.ok()), lab.upstream(actions.ok())
    gw = lab.policy({"a": a, "b": b}, """
    if req:header("x-guard") then
      return req:respond { status = 401, json = { error = { message = "guarded", type = "guard" } } }
    end
    return failover.run(req, settings)
""", {"targets": ["a", "b"], "order": "round_robin", "trigger": "any", "suspend": 60,
      "breaker": {"failures": 1, "recovery": 60}})
    assert gw.chat(headers={"X-Guard": "1"}).status == 401
    assert statuses(gw, 20) == [200] * 20
    assert counts(a, b) == [10, 10]


def test_D18_never_back_to_the_failed_one(lab):
    """Goal: after a 429 with suspension the next attempt goes elsewhere."""
    p, f1 = lab.upstream(actions.fail(429)), lab.upstream(actions.ok())
    gw = lab.failover({"p": p, "f1": f1}, {"suspend": 30, "max_attempts": 2})
    assert statuses(gw, 3) == [200] * 3
    assert counts(p, f1) == [1, 3]


def test_D_suspensions_are_per_pair(lab):
    """Goal: what is suspended is the pair of provider and model: the same provider's other model goes on."""
    p = lab.upstream(actions.fail(500), actions.ok())
    gw = lab.failover({"p": p}, {"targets": ["p/big", "p/small"], "suspend": 60})
    assert statuses(gw, 2) == [200, 200]
    assert [r.json()["model"] for r in p.requests] == ["big", "small", "small"]


def test_D_quota_group_is_suspended_as_one(lab):
    """Goal: providers of one quota group are suspended together."""
    a, b, c = lab.upstream(actions.fail(429)), lab.upstream(actions.ok()), lab.upstream(actions.ok("from c"))
    a.options = b.options = {"quota_group": "org"}
    gw = lab.failover({"a": a, "b": b, "c": c}, {"targets": ["a/m", "b/m", "c/m"], "suspend": 60})
    gw.chat()
    assert gw.chat().text == "from c"
    assert a.count == 1
