# SPDX-License-Identifier: MIT
"""Providers that accept and never answer, and that flap, under load: everybody else is served, every request comes home, nothing is left behind."""
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import actions
from support.client import Client, chat_body
from support.waiting import wait_until

HUNG = 150          # requests at a provider that takes 60 and lets 60 wait
SLOTS = QUEUE = 60


@pytest.fixture(params=["head", "stream"])
def hung(lab, request):
    """A provider that never answers: not at all, or in the middle of a stream's beginning; a spare one; a gateway with one worker over both."""
    silence = actions.silence() if request.param == "head" else actions.stream(end="keep_open")
    p, spare = lab.upstream(silence), lab.upstream(actions.ok())
    patient = {"targets": ["p/m", "spare/m"], "request_timeout": 600, "deadline": 600}
    hasty = {**patient, "targets": [{"target": "p/m", "request_timeout": 1}, "spare/m"]}
    routes = [{"name": "patient", "path": "/v1/patient", "policy": "failover", "settings": patient},
              {"name": "hasty", "path": "/v1/hasty", "policy": "failover", "settings": hasty},
              {"name": "other", "path": "/v1/*", "policy": "failover", "settings": {"targets": ["spare/m"]}}]
    options = {"max_inflight": SLOTS, "queue": QUEUE, "queue_timeout": 600}
    gw = lab.gateway({"workers": 1, "routes": routes, "providers": {
        "p": {"base_url": p.base_url, **options}, "spare": {"base_url": spare.base_url}}}).start()
    return gw, p, spare, request.param == "stream"


def test_others_are_served_beside_hung_requests(hung):
    """Goal: with 60 requests hanging at a provider and 60 waiting for it, the rest fails over at once, and the same worker serves all other requests; when the
    clients leave, nothing is left."""
    gw, p, spare, stream = hung
    assert gw.chat().status == 200
    fds = gw.fds()
    clients = []
    for _ in range(HUNG):
        clients.append(Client(gw.address).request("POST", "/v1/patient", body=chat_body(stream)))
    full = HUNG - SLOTS - QUEUE
    wait_until(lambda: gw.metric("moongate_attempts_total", target="p/m", outcome="queue_full") == full, "the others to find the queue full")
    wait_until(lambda: p.count == SLOTS, "the provider to be full")
    assert [gw.chat().status for _ in range(100)] == [200] * 100
    assert gw.metric("moongate_requests_inflight") == SLOTS + QUEUE
    assert p.count == SLOTS and gw.facts("p/m")["inflight"] == SLOTS + QUEUE
    assert gw.metric("moongate_requests_total", route="patient", status="200") == full
    for c in clients:
        c.close()
    wait_until(lambda: gw.metric("moongate_requests_inflight") == 0, "all to be given up")
    wait_until(lambda: gw.facts("p/m")["inflight"] == 0 and p.open_connections == 0, "the provider's connections to be closed")
    wait_until(lambda: gw.fds() <= fds + full + 1, "the descriptors to be closed")    # idle ones of the spare
    assert gw.metric("moongate_memory_bytes") == 0


def test_time_limits_move_all_hung_requests_on(hung):
    """Goal: 150 requests at a provider that never answers all end at the spare one: by a time limit, or because the queue was full; nothing is left."""
    gw, p, spare, stream = hung
    with ThreadPoolExecutor(HUNG) as pool:
        answers = list(pool.map(lambda _: gw.chat(stream=False, target="/v1/hasty"), range(HUNG)))
    assert [a.status for a in answers] == [200] * HUNG
    assert {a.trail[-1][:2] for a in answers} == {("spare/m", "ok")} and all(len(a.trail) == 2 for a in answers)
    assert {a.trail[0][1] for a in answers} <= {"timeout_total", "queue_full"}
    assert spare.count == HUNG
    wait_until(lambda: gw.facts("p/m")["inflight"] == 0 and p.open_connections == 0, "the provider's connections to be closed")
    p.script(actions.ok())
    wait_until(lambda: gw.chat(target="/v1/hasty").trail[0][:2] == ("p/m", "ok"), "the provider to be used again")


class Flapping:
    """Up and down by turns of a second; two of them in opposite turns, with an overlap in which both are up."""

    def __init__(self, began, odd):
        self.began, self.odd, self.down = began, odd, 0

    def __call__(self, call):
        at = (time.monotonic() - self.began - (1.0 if self.odd else 0.0)) % 2.0
        if at < 1.2:
            return actions.ok()(call)
        self.down += 1
        return actions.fail(503)(call)


def ask_for(gw, seconds, threads=4):
    """What requests of several threads end with, for so long."""
    end, out = time.monotonic() + seconds, []

    def ask():
        while time.monotonic() < end:
            out.append(gw.chat())
            time.sleep(0.01)
    running = [threading.Thread(target=ask) for _ in range(threads)]
    for t in running:
        t.start()
    for t in running:
        t.join()
    return out


def test_flapping_provider_before_a_steady_one(lab):
    """Goal: over five seconds of flapping every request succeeds, and the breaker keeps the share of vain attempts below one in five."""
    p, spare = lab.upstream(Flapping(time.monotonic(), False)), lab.upstream(actions.ok())
    gw = lab.failover({"p": p, "spare": spare}, {"breaker": {"failures": 3, "recovery": 0.5}})
    answers = ask_for(gw, 5)
    assert [a.status for a in answers if a.status != 200] == []
    vain = sum(1 for a in answers for t in a.trail if t[1] != "ok")
    print(f"{len(answers)} requests, {vain} vain attempts, {spare.count} served by the spare")
    assert vain <= max(40, len(answers) / 5) and spare.count > 0 and p.count > 0


def test_two_that_flap_in_turns(lab):
    """Goal: with one of two always up every request succeeds, over five seconds."""
    began = time.monotonic()
    a, b = lab.upstream(Flapping(began, False)), lab.upstream(Flapping(began, True))
    gw = lab.failover({"a": a, "b": b}, {"retries": 1, "backoff": {"base": 0.1, "cap": 0.3, "jitter": "none"}})
    answers = ask_for(gw, 5)
    failed = [x.trail for x in answers if x.status != 200]
    print(f"{len(answers)} requests, {len(failed)} failed, {sum(len(x.trail) > 1 for x in answers)} needed more than one attempt")
    assert len(failed) <= len(answers) / 100, failed
    assert any(len(x.trail) > 1 for x in answers)
