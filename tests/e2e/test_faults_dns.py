# SPDX-License-Identifier: MIT
"""
DNS that does not answer for as long as the test likes (3 seconds or 30: no time is measured). support/slow_dns.c stands between the plain build and the system's
resolver. Holds for every transport: what counts is that a lookup under way holds up nobody else.
"""
import os
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from support import actions
from support.crowd import shim
from support.gateway import PLAIN, Gateway
from support.waiting import wait_until


class Slow(Gateway):
    binary = PLAIN

    @property
    def gate(self):
        return self.folder / "gate"

    def open_gate(self):
        self.gate.write_text("")

    @property
    def lookups(self):
        asked = self.folder / "gate.asked"
        return asked.stat().st_size if asked.exists() else 0

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))


@pytest.fixture
def slow(tmp_path):
    made = []
    library = shim("slow_dns", tmp_path)

    def make(up, host="p.slow.test", connect_timeout=60, spare=None, **limits):
        folder = tmp_path / "slow"
        named = f"http://{host}:{urlsplit(up.base_url).port}/v1"
        targets = ["p/m", "spare/m"]
        made.append(Slow(folder, {
            "workers": 1, "limits": limits,
            "providers": {"p": {"base_url": named, "connect_timeout": connect_timeout}, "spare": {"base_url": (spare or up).base_url}},
            "routes": [{"name": "chat", "path": "/v1/chat/*", "policy": "failover", "settings": {"targets": targets}},
                       {"name": "other", "path": "/v1/*", "policy": "failover", "settings": {"targets": ["spare/m"]}}]},
            env={"LD_PRELOAD": str(library), "SLOW_DNS": str(folder / "gate")}))
        return made[-1]
    yield make
    for gw in made:
        gw.open_gate()
        gw.stop()


def test_others_are_served_meanwhile(lab, slow):
    """Goal: while a lookup is pending the same worker answers 100 other requests; then the request that waited is answered, too."""
    p, spare = lab.upstream(actions.ok("named")), lab.upstream(actions.ok())
    gw = slow(p, spare=spare)
    with gw.open_chat(stream=False) as waiting:
        wait_until(lambda: gw.lookups == 1, "the lookup to begin")
        assert [gw.chat(target="/v1/embeddings").status for _ in range(100)] == [200] * 100
        assert gw.metric("moongate_requests_inflight") == 1 and p.count == 0
        gw.open_gate()
        answer = waiting.read()
        assert answer.status == 200 and answer.json()["choices"][0]["message"]["content"] == "named"


def test_the_lookup_is_part_of_connecting(lab, slow):
    """Goal: a lookup that takes longer than connect_timeout is a timeout_connect and fails over, while it is still pending; 40 at once do the same."""
    p, spare = lab.upstream(actions.ok()), lab.upstream(actions.ok())
    gw = slow(p, spare=spare, connect_timeout=0.5)
    answer = gw.chat()
    assert answer.status == 200 and [a[:2] for a in answer.trail] == [("p/m", "timeout_connect"), ("spare/m", "ok")]
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: gw.chat(), range(40)))
    assert [a.status for a in answers] == [200] * 40 and not gw.gate.exists() and p.count == 0
    assert {a.trail[0][1] for a in answers} == {"timeout_connect"}
    threads = gw.threads()
    assert threads <= 41 + 10, threads
    gw.open_gate()
    wait_until(lambda: gw.threads() <= 12, "the lookups' threads to end")
    wait_until(lambda: gw.chat().trail[0][:2] == ("p/m", "ok"), "the name to be known")


def test_a_name_that_is_not_found_in_the_end(lab, slow):
    """Goal: a late "not found" is a dns_error and fails over."""
    gw = slow(lab.upstream(), host="never.slow.test", spare=lab.upstream(actions.ok()))
    with gw.open_chat(stream=False) as c:
        wait_until(lambda: gw.lookups >= 1, "the lookup to begin")
        gw.open_gate()
        answer = c.read()
        assert answer.status == 200 and [a[:2] for a in answer.trail] == [("p/m", "dns_error"), ("spare/m", "ok")]


def test_a_client_that_leaves_during_a_lookup(lab, slow):
    """Goal: the request ends at once with its client, though the lookup goes on."""
    gw = slow(lab.upstream())
    with gw.open_chat() as _:
        wait_until(lambda: gw.lookups == 1, "the lookup to begin")
    wait_until(lambda: gw.metric("moongate_requests_inflight") == 0, "the request to end")
    assert gw.log_entries(1)[0]["end"] == "client_gone" and not gw.gate.exists()


def test_a_lookup_does_not_hold_up_the_stop(lab, slow):
    """Goal: SIGTERM ends the gateway after its drain time, with the lookup still pending."""
    gw = slow(lab.upstream(), drain_time=0.5)
    with gw.open_chat(stream=False) as c:
        wait_until(lambda: gw.lookups == 1, "the lookup to begin")
        gw.checked = True
        gw.signal(15)
        assert gw.wait_exit() == 0 and not gw.gate.exists()
        assert c.read().status in (502, 503, 504)
