# SPDX-License-Identifier: MIT
"""SCENARIOS.tsv, group I: counting failures, and health probes."""
from support import actions
from support.waiting import wait_until


def test_I01_success_starts_the_count_again(lab):
    """Goal: 500, 500, 200, 500, 500, 500: six calls before the target is out."""
    a = lab.upstream(*[actions.answer(s) for s in (500, 500, 200, 500, 500, 500)])
    b = lab.upstream(actions.ok("from b"))
    gw = lab.failover({"a": a, "b": b}, {"breaker": {"failures": 3, "recovery": 60}})
    for _ in range(10):
        assert gw.chat().status == 200
    assert (a.count, b.count) == (6, 9)


def probed(lab, script, **health):
    up = lab.upstream(actions.ok())
    up.on("/v1/models", *script)
    up.options = {"health": {"path": "/models", "interval": 0.1, "timeout": 2, **health}}
    return up


def test_I03_probes_bring_a_target_back(lab):
    """Goal: probes find a target down before any client does, and bring it back after three successes."""
    a = probed(lab, [actions.fail(500)], up=3, down=1)
    b = lab.upstream(actions.ok("from b"))
    gw = lab.failover({"a": a, "b": b}, {"order": "round_robin"})
    wait_until(lambda: gw.facts("a/a-model").get("up") is False, "the probes to find a down")
    for _ in range(4):
        assert gw.chat().text == "from b"
    assert a.count == 0
    a.on("/v1/models", actions.answer(200, {"object": "list", "data": []}))
    wait_until(lambda: gw.facts("a/a-model")["up"], "the probes to bring a back")
    assert len(a.calls_to("/v1/models")) >= 3
    assert [gw.chat().status for _ in range(10)] == [200] * 10
    assert a.count == 5
    probe = a.calls_to("/v1/models")[0].request
    assert probe.method == "GET" and probe.header("authorization") == "Bearer sk-provider-a"


def test_I03_down_takes_failures_in_a_row(lab):
    """Goal: a provider goes down after `down` failures in a row; before the first verdict it is up."""
    fail, ok = actions.fail(500), actions.ok()
    a = probed(lab, [fail, fail, ok, fail, fail, ok, fail], up=1, down=3)
    gw = lab.failover({"a": a, "b": lab.upstream(actions.ok("from b"))})
    assert gw.chat().status == 200 and a.count == 1
    wait_until(lambda: gw.facts("a/a-model")["up"] is False, "the down verdict")
    assert len(a.calls_to("/v1/models")) >= 9


def test_I03_up_verdict_closes_the_breaker(lab):
    """Goal: an up verdict closes the breakers of the provider's targets."""
    a = probed(lab, [actions.fail(500)], up=1, down=1)
    a.script(actions.fail(500), actions.ok("from a"))
    gw = lab.failover({"a": a}, {"breaker": {"failures": 1, "recovery": 600}, "when_suspended": "unavailable"})
    wait_until(lambda: gw.facts("a/a-model").get("up") is False)
    assert gw.chat().status == 503 and a.count == 0
    a.on("/v1/models", actions.ok())
    wait_until(lambda: gw.facts("a/a-model")["up"])
    assert gw.chat().status == 500
    assert gw.chat().status == 503 and a.count == 1
    a.on("/v1/models", actions.fail(500))
    wait_until(lambda: gw.facts("a/a-model")["up"] is False)
    a.on("/v1/models", actions.ok())
    wait_until(lambda: gw.chat().status == 200, "the breaker to be closed by the verdict")
