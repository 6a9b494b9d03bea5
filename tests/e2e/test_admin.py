# SPDX-License-Identifier: MIT
"""The admin listener: metrics, health, readiness, status and targets; tokens; and what it must not tell."""
import re
import signal
import threading

import pytest
from support import actions, wire
from support.client import Client, call
from support.waiting import wait_until


@pytest.fixture
def gw(lab):
    up = lab.upstream(actions.ok(), actions.fail(500), actions.talk("x"))
    q = lab.upstream(actions.ok())
    gateway = lab.failover({"p": up, "q": q}, {"suspend": 60})
    assert [gateway.chat().status for _ in range(3)] == [200] * 3
    return gateway


def test_healthz_and_readyz(gw):
    """Goal: both are 200 without a token."""
    for path in ("/healthz", "/readyz"):
        assert gw.admin_get(path, token=None).status == 200


@pytest.mark.parametrize("path", ["/admin/status", "/admin/targets"])
@pytest.mark.parametrize("token", [None, "wrong", "", "admin-token-of-the-test", "admin-token-of-the-testsx"])
def test_tokens(gw, path, token):
    """Goal: what is under /admin/ is a 401 without the right token."""
    answer = gw.admin_get(path, token)
    assert answer.status == 401 and b"p/p-model" not in answer.body
    assert gw.admin_get(path).status == 200


def test_no_token_configured(lab):
    """Goal: on loopback the admin listener may go without a token; the rest of it is then still there."""
    gw = lab.failover({"p": lab.refusing()}, config={"admin": {"listen": "127.0.0.1:0"}})
    assert gw.admin_get("/metrics", None).status == 200
    assert gw.admin_get("/admin/status", None).status in (200, 401, 403)


def test_metrics(gw):
    """Goal: Prometheus' format; requests and attempts are counted; names are of the two families."""
    answer = gw.admin_get("/metrics", None)
    assert answer.status == 200 and answer.header("content-type").startswith("text/plain")
    text = answer.body.decode()
    samples = gw.metrics()
    assert samples and all(re.match("gen_ai_|moongate_|process_", s.name) for s in samples)
    typed = set(re.findall(r"^# TYPE (\S+) (?:counter|gauge|histogram|summary|untyped)$", text, re.M))
    for s in samples:
        assert s.name in typed or re.sub(r"_(bucket|sum|count)$", "", s.name) in typed, s.name
    keys = [(s.name, tuple(sorted(s.labels.items()))) for s in samples]
    assert len(keys) == len(set(keys)), "the same series twice"
    assert gw.metric("moongate_requests_total") == 3
    assert gw.metric("moongate_attempts_total") == 4
    assert gw.metric("moongate_attempts_total", outcome="server_error") == 1


def test_metric_histograms_are_cumulative(gw):
    """Goal: the buckets of a histogram only rise, and the last is its count."""
    series = {}
    for s in gw.metrics():
        if s.name.endswith("_bucket"):
            key = (s.name, tuple(sorted((k, v) for k, v in s.labels.items() if k != "le")))
            series.setdefault(key, []).append((float(s.labels["le"].replace("+Inf", "inf")), s.value))
    assert series
    for (name, labels), buckets in series.items():
        buckets.sort()
        values = [v for _, v in buckets]
        assert values == sorted(values) and buckets[-1][0] == float("inf")
        counts = [s.value for s in gw.metrics() if s.name == name.removesuffix("_bucket") + "_count"
                  and s.labels == dict(labels)]
        assert counts == [values[-1]]


def test_token_usage_is_counted(lab):
    """Goal: tokens of bodies and of streams appear in the metrics."""
    up = lab.upstream(actions.ok(), actions.stream(wire.delta("x"), wire.finish(), wire.usage(20, 30), wire.DONE))
    gw = lab.failover({"p": up})
    assert gw.chat().status == 200 and gw.chat(stream=True).clean
    gw.log_entries(2)

    def tokens(kind):
        return sum(s.value for s in gw.metrics() if s.name.startswith("gen_ai_client_token_usage")
                   and s.name.endswith("_sum") and s.labels.get("gen_ai_token_type") == kind)
    wait_until(lambda: tokens("input") == 23, "3 + 20 input tokens")
    assert tokens("output") == 35


def test_targets(gw):
    """Goal: the documented fields of every target, as they are."""
    facts = gw.targets()
    assert {"p/p-model", "q/q-model"} <= set(facts)
    p, q = facts["p/p-model"], facts["q/q-model"]
    assert (p["provider"], p["model"], p["up"]) == ("p", "p-model", True)
    assert 0 < p["suspended_for"] <= 60 and q["suspended_for"] == 0
    assert p["inflight"] == 0 and {"reason", "breaker"} <= set(p)


def test_inflight(lab):
    """Goal: an attempt under way is seen."""
    up = lab.upstream(actions.silence())
    gw = lab.failover({"p": up})
    with gw.open_chat(stream=False):
        wait_until(lambda: gw.facts("p/p-model").get("inflight") == 1)
    wait_until(lambda: gw.facts("p/p-model")["inflight"] == 0)


def test_status(gw):
    """Goal: the status is an object that tells the generation."""
    status = gw.admin_get("/admin/status").json()
    assert isinstance(status, dict) and status
    assert re.search("generation|active", str(status))


def test_unknown_paths_and_methods(gw):
    """Goal: what is not there is a 404 or 405, under the token as without."""
    assert gw.admin_get("/nothing", None).status == 404
    assert gw.admin_get("/admin/nothing").status == 404
    assert gw.admin_get("/admin/nothing", None).status in (401, 404)
    assert call(gw.admin, "DELETE", "/metrics").status in (404, 405)
    assert call(gw.admin, "POST", "/v1/chat/completions", body={}).status in (401, 404, 405)


def test_admin_paths_are_not_on_the_data_listener(gw):
    """Goal: the data listener knows nothing of the admin's pages."""
    for path in ("/metrics", "/admin/status", "/healthz"):
        assert call(gw.address, "GET", path).status == 404


def test_wrong_requests_to_admin(gw):
    """Goal: the admin listener is as strict as the other, and lives on."""
    for data in (b"GET /metrics HTTP/1.1\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
                 b"\x16\x03\x01\r\n\r\n"):
        with Client(gw.admin) as c:
            assert c.send(data).read().status == 400
            assert c.at_end()
    assert gw.admin_get("/healthz").status == 200


def test_admin_is_served_under_load(lab):
    """Goal: a client that holds an admin connection open in mid-request does not stop the others."""
    gw = lab.failover({"p": lab.upstream(actions.ok())})
    with Client(gw.admin) as slow:
        slow.send(b"GET /metrics HTTP/1.1\r\nHo")
        assert gw.admin_get("/healthz").status == 200 and gw.chat().status == 200
        assert slow.send(b"st: x\r\n\r\n").read().status == 200


def test_readyz_while_draining(lab):
    """Goal: after SIGTERM the gateway takes no new work, finishes what it has, and ends with 0."""
    gate = threading.Event()
    up = lab.upstream(actions.stream(wire.delta("one "), gate, wire.delta("two"), wire.finish(), wire.DONE), actions.ok())
    gw = lab.failover({"p": up}, config={"limits": {"drain_time": 30}})
    with gw.open_chat() as c:
        answer = c.start()
        first = answer.next_event()
        gw.signal(signal.SIGTERM)
        gw.wait_log("stopping|drain")

        def refused():
            try:
                return gw.chat().status == 503
            except (OSError, EOFError):
                return True
        wait_until(refused, "new work to be refused")
        gate.set()
        assert wire.text_of([first, *answer.events()]) == "one two" and answer.clean
    assert gw.wait_exit() == 0
    gw.checked = True
    gw.check_reports()


def test_drain_has_an_end(lab):
    """Goal: a stream that does not end is cut, visibly, when the drain time is over."""
    up = lab.upstream(actions.endless(0.02))
    gw = lab.failover({"p": up}, config={"limits": {"drain_time": 1}})
    with gw.open_chat() as c:
        answer = c.start()
        assert answer.next_event()
        gw.signal(signal.SIGTERM)
        events = answer.events()
        assert not answer.clean and not any(e.done for e in events)
    assert gw.wait_exit() == 0
    gw.checked = True
    gw.check_reports()
