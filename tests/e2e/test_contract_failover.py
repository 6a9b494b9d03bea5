# SPDX-License-Identifier: MIT
"""The stock policy's settings, one by one, where the scenarios leave something open."""
import json
import threading

import pytest
from support import actions
from support.client import assert_openai_error
from support.waiting import wait_until

CASES = {"backend": 500, "credential": 401, "rate_limit": 429, "intercepted": 451, "model": 404, "context": 413, "client": 422}
TRIGGERS = {
    "backend_errors": {"backend", "credential"}, "errors": set(CASES) - {"client"}, "any": set(CASES),
    "list": {"backend", "rate_limit", "client"},
}


@pytest.mark.parametrize("name", TRIGGERS)
def test_triggers(lab, name):
    """Goal: what moves on to the next target, for every class and every preset."""
    p = lab.upstream(actions.ok())
    gw = lab.failover({"p": p, "q": lab.upstream(actions.ok())}, {"trigger": ["5xx", 429, "client_error"] if name == "list" else name})
    moved = set()
    for kind, status in CASES.items():
        p.script(actions.fail(status))
        if len(gw.chat().trail) == 2:
            moved.add(kind)
    assert moved == TRIGGERS[name]


@pytest.mark.parametrize("settings, targets", [(0.5, 0), (0, 0.5), (5, 0.5)])
def test_a_limit_of_nothing_is_none(lab, settings, targets):
    """Goal: 0 switches one limit off, not the others."""
    gw = lab.failover({"p": lab.upstream(actions.silence())},
                      {"request_timeout": settings, "targets": [{"target": "p/m", "request_timeout": targets}]})
    answer = gw.chat()
    assert answer.status == 504 and answer.elapsed >= 0.5 and [t[1] for t in answer.trail] == ["timeout_total"]


@pytest.mark.parametrize("script, trail", [((actions.silence(),), 0), ((actions.ok(), actions.silence()), 1)], ids=["fresh", "reused"])
def test_first_byte(lab, script, trail):
    """Goal: the provider's first_byte_timeout ends an attempt, on a connection that was used before as well."""
    gw = lab.failover({"p": lab.upstream(*script)}, options={"first_byte_timeout": 0.5}, config={"workers": 1})
    for _ in range(trail):
        assert gw.chat().status == 200
    assert gw.chat().trail == [("p/p-model", "timeout_first_byte", 0)]


def test_hint_beyond_the_limit_ends_the_retries(lab):
    """Goal: a hint of 61 s is not waited for: the next target is asked at once."""
    p = lab.upstream(actions.fail(429, headers={"retry-after": "61"}), actions.ok())
    assert [t[0] for t in lab.failover({"p": p, "q": lab.upstream(actions.ok())}, {"retries": 3}).chat().trail] == ["p/p-model", "q/q-model"]


def test_hint_in_azures_words(lab):
    """Goal: x-ms-retry-after-ms is waited for, on the same target."""
    p = lab.upstream(actions.fail(429, headers={"x-ms-retry-after-ms": "300"}), actions.ok())
    answer = lab.failover({"p": p, "q": lab.upstream()}, {"retries": 3, "backoff": {"base": 100, "cap": 100, "jitter": "none"}}).chat()
    assert [t[0] for t in answer.trail] == ["p/p-model"] * 2
    assert 0.29 <= p.requests[1].at - p.requests[0].at < 90


def test_attempts_have_a_cap(lab):
    """Goal: max_attempts counts retries and targets together; 32 is the end in any case."""
    p = lab.upstream(actions.fail(500))
    settings = {"targets": ["p/a", "p/b", "p/c"], "retries": 5, "max_attempts": 4, "backoff": {"base": 0.01}}
    assert len(lab.failover({"p": p}, settings).chat().trail) == 4
    lab.failover({"p": p}, {"targets": [f"p/{n}" for n in range(40)]}).chat()
    assert p.count == 4 + 32


def test_nothing_is_repeated_without_replay(lab):
    """Goal: replay = false: a request that went out whole and got no answer is not sent again; one that was answered is."""
    p = lab.upstream(actions.hang_up())
    gw = lab.failover({"p": p, "q": lab.upstream(actions.ok())}, {"replay": False})
    assert len(gw.chat().trail) == 1
    p.script(actions.fail(500))
    assert len(gw.chat().trail) == 2


def test_what_a_target_changes(lab):
    """Goal: set, unset and headers of one target, spliced into the body, each field once."""
    p = lab.upstream(actions.ok())
    target = {"target": "p/m", "set": {"max_tokens": 5, "z": {"a": [1, "x"]}}, "unset": ["temperature", "nope"], "headers": {"x-team": "a"}}
    lab.failover({"p": p}, {"targets": [target]}).chat(temperature=1, max_tokens=100, keep=[1])
    got = p.requests[0]
    body = json.loads(got.body)
    assert (body["max_tokens"], body["z"], body["keep"], body["model"]) == (5, {"a": [1, "x"]}, [1], "m")
    assert "temperature" not in body and got.body.count(b"max_tokens") == 1 and got.header("x-team") == "a"


def test_breaker_counts_requests(lab):
    """Goal: a request with retries counts once."""
    gw = lab.failover({"p": lab.upstream(actions.fail(500)), "q": lab.upstream(actions.ok())},
                      {"breaker": {"failures": 3, "recovery": 600}, "retries": 2, "backoff": {"base": 0.01}})
    assert [len(gw.chat().trail) for _ in range(4)] == [4, 4, 4, 1]


def test_budget_of_retries(lab):
    """Goal: a budget that is used up stops further attempts."""
    gw = lab.failover({n: lab.upstream(actions.fail(500)) for n in "pq"}, {"retry_budget": {"ratio": 0, "min": 2}})
    assert [len(gw.chat().trail) for _ in range(4)] == [2, 2, 1, 1]


def test_switched_off(lab):
    """Goal: enabled = false: the first target, once, and nothing is remembered."""
    gw = lab.failover({"p": lab.upstream(actions.fail(500)), "q": lab.upstream()}, {"enabled": False, "retries": 3, "suspend": 10})
    assert [gw.chat().trail for _ in range(2)] == [[("p/p-model", "server_error", 500)]] * 2


KEYS = [{"name": "s", "secret": "client-secret-s", "environment": "sandbox"},
        {"name": "x", "secret": "client-secret-x", "environment": "staging"}]


def test_settings_of_the_sandbox(lab):
    """Goal: any setting may be another for sandbox keys, and for those alone."""
    ups = {"p": lab.upstream(actions.fail(500)), "q": lab.upstream(actions.ok())}
    gw = lab.failover(ups, {"targets": ["p/a", "q/b"], "sandbox": {"targets": ["p/a", "q/s"]}}, config={"keys": KEYS})
    off = lab.failover(ups, {"sandbox": {"enabled": False}}, config={"keys": KEYS})

    def trail(gw, key):
        return [t[0] for t in gw.chat(headers={"x-api-key": f"client-secret-{key}"}).trail]
    assert (trail(gw, "s"), trail(gw, "x")) == (["p/a", "q/s"], ["p/a", "q/b"])
    assert (len(trail(off, "s")), len(trail(off, "x"))) == (1, 2)


def test_weights(lab):
    """Goal: smooth weighted turns, one rotation for all workers."""
    ups = {n: lab.upstream(actions.ok()) for n in "pq"}
    gw = lab.failover(ups, {"order": "weighted", "targets": [{"target": "p/a", "weight": 4}, {"target": "q/b", "weight": 1}]})
    assert "".join(gw.chat().trail[0][0][0] for _ in range(10)) == "ppqpp" * 2


def test_group_with_weights(lab):
    """Goal: a group's order is its own, and a group is one step."""
    ups = {n: lab.upstream(actions.ok()) for n in "pqz"}
    gw = lab.failover(ups, {"targets": [{"order": "weighted", "targets": [{"target": "p/a", "weight": 2}, "q/b"]}, "z/c"]})
    chosen = [gw.chat().trail[0][0][0] for _ in range(6)]
    assert (chosen.count("p"), chosen.count("q")) == (4, 2)
    for n in "pq":
        ups[n].script(actions.fail(500))
    assert [t[0] for t in gw.chat().trail][1:] == ["z/c"]


def test_hint_and_suspension(lab):
    """Goal: a hint lengthens a suspension and never shortens it; without `suspend` nothing is remembered."""
    for settings, hint, least, most in (({"suspend": 30}, 120, 110, 120), ({"suspend": 30}, 1, 20, 30), ({}, 120, 0, 0)):
        p = lab.upstream(actions.fail(429, headers={"retry-after": str(hint)}))
        gw = lab.failover({"p": p, "q": lab.upstream(actions.ok())}, settings)
        gw.chat()
        assert least <= gw.facts("p/p-model")["suspended_for"] <= most


def test_all_suspended_says_when(lab):
    """Goal: a 503 at once, whose Retry-After is the soonest recovery; the log has no attempt."""
    gw = lab.failover({n: lab.upstream(actions.fail(500)) for n in "pq"}, {"suspend": 60})
    gw.chat()
    answer = gw.chat()
    assert_openai_error(answer, 503)
    assert 30 <= int(answer.header("retry-after")) <= 60 and answer.trail == []
    assert gw.entry(answer)["attempts"] == []


def test_quota_group(lab):
    """Goal: a rate limit suspends the whole group, a fault of one provider does not."""
    for failure, second in ((429, "z/z-model"), (500, "q/q-model")):
        ups = {"p": lab.upstream(actions.fail(failure)), "q": lab.upstream(actions.ok()), "z": lab.upstream(actions.ok())}
        ups["p"].options = ups["q"].options = {"quota_group": "org"}
        assert [t[0] for t in lab.failover(ups, {"suspend": 60}).chat().trail] == ["p/p-model", second]


def test_stale_connection(lab):
    """Goal: a kept connection that the provider closes is tried once more, over a fresh one, and both are in the trail."""
    p = lab.upstream(actions.ok())
    gw = lab.failover({"p": p}, config={"workers": 1})
    gw.chat()
    p.script(actions.hang_up(), actions.ok("again"))
    answer = gw.chat()
    assert answer.text == "again" and answer.trail == [("p/p-model", "stale_connection", 0), ("p/p-model", "ok", 200)]


def test_slots_of_all_workers(lab):
    """Goal: max_inflight holds over all workers, and those who wait are all served."""
    up = lab.upstream(actions.ok(delay=0.1))
    gw = lab.failover({"p": up}, options={"max_inflight": 1})
    waiting = [gw.open_chat(stream=False) for _ in range(6)]
    assert [c.read().status for c in waiting] == [200] * 6
    spans = sorted(r.at for r in up.requests)
    assert all(b - a >= 0.1 for a, b in zip(spans, spans[1:]))


def test_slow_failure_limit(lab):
    """Goal: a failure that took too long is returned, a quick one is failed over."""
    p = lab.upstream(actions.fail(500, delay=0.6))
    gw = lab.failover({"p": p, "q": lab.upstream(actions.ok())}, {"slow_failure": 0.5})
    assert gw.chat().status == 500


def test_probes_take_a_provider_down_and_up(lab):
    """Goal: down after `down` failures in a row, up after `up` successes; probes are no requests and carry the key."""
    p, q, gate = lab.upstream(actions.ok()), lab.upstream(actions.ok()), threading.Event()
    p.on("/v1/models", actions.ok(), actions.fail(500), actions.fail(500), actions.fail(500), actions.ok(gate=gate))
    p.options = {"health": {"interval": 0.2, "timeout": 2, "down": 3, "up": 2}}
    gw = lab.failover({"p": p, "q": q})
    wait_until(lambda: gw.facts("p/p-model").get("up") is False)
    gate.set()
    assert len(p.calls_to("/v1/models")) >= 4
    wait_until(lambda: gw.facts("p/p-model")["up"])
    assert len(p.calls_to("/v1/models")) >= 6
    assert p.calls_to("/v1/models")[0].request.header("authorization") == "Bearer sk-provider-p"
    assert gw.chat().trail == [("p/p-model", "ok", 200)] and len(gw.log_entries(1)) == 1


@pytest.mark.parametrize("health, script", [
    ({"timeout": 0.2}, actions.silence()), ({}, actions.answer(302)),
    ({"timeout": 0.3}, actions.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100, 0.05)),
], ids=["silent", "redirect", "trickle"])
def test_what_fails_a_probe(lab, health, script):
    """Goal: no answer, an answer that trickles, and a status that is not wanted."""
    p = lab.upstream(actions.ok())
    p.on("/v1/models", script)
    p.options = {"health": {"interval": 0.2, "down": 1, **health}}
    gw = lab.failover({"p": p, "q": lab.upstream(actions.ok())})
    wait_until(lambda: gw.facts("p/p-model").get("up") is False)
    assert gw.chat().trail == [("q/q-model", "ok", 200)]


def test_probe_of_ones_own(lab):
    """Goal: method, body and status of a probe are those configured; a wanted 404 keeps the provider up."""
    p = lab.upstream(actions.ok())
    p.on("/v1/alive", actions.answer(404))
    p.options = {"health": {"path": "/alive", "interval": 0.1, "down": 1, "method": "POST", "body": '{"x":1}', "status": "2xx, 404"}}
    gw = lab.failover({"p": p})
    wait_until(lambda: len(p.calls_to("/v1/alive")) >= 3)
    got = p.calls_to("/v1/alive")[0].request
    assert (got.method, got.body) == ("POST", b'{"x":1}') and gw.facts("p/p-model")["up"]


def test_all_down(lab):
    """Goal: every provider down: a 503 with Retry-After, or an attempt all the same when the settings say so."""
    p = lab.upstream(actions.ok())
    p.on("/v1/models", actions.fail(500))
    p.options = {"health": {"interval": 0.1, "down": 1}}
    for settings, status in (({}, 503), ({"when_suspended": "try_anyway"}, 200)):
        gw = lab.failover({"p": p}, settings)
        wait_until(lambda: gw.facts("p/p-model").get("up") is False)
        answer = gw.chat()
        assert answer.status == status and (status == 200 or int(answer.header("retry-after")) >= 1)
