# SPDX-License-Identifier: MIT
"""Descriptors run out: from the start (a small ulimit), and under a running gateway (the limit is lowered below what is open)."""
import resource
import socket

from support import actions
from support.client import Client
from support.gateway import Gateway
from support.waiting import wait_until


class Small(Gateway):
    """Started with few descriptors."""
    descriptors = 200

    def start(self, wait=True):
        binary, self.binary = self.binary, self.folder / "small"
        self.binary.write_text(f'#!/bin/sh\nulimit -S -n {self.descriptors}\nulimit -H -n {self.descriptors}\nexec "{binary}" "$@"\n')
        self.binary.chmod(0o755)
        try:
            return super().start(wait)
        finally:
            self.binary = binary


def nofile(gw, soft):
    hard = resource.prlimit(gw.process.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(gw.process.pid, resource.RLIMIT_NOFILE, (soft, hard))


def provider(up, **more):
    return {"base_url": up.base_url, "api_key": "sk-provider-p", **more}


def config(targets, **providers):
    return {"workers": 1, "providers": providers,
            "routes": [{"name": "chat", "path": "/v1/*", "policy": "failover", "settings": {"targets": targets}}]}


def test_few_descriptors_from_the_start(lab, tmp_path):
    """Goal: with 200 descriptors the gateway takes as many clients as it can serve, each with a provider's connection, and the admin listener stays reachable."""
    up = lab.upstream(actions.endless(0.1))
    gw = Small(tmp_path / "small", config(["p/m"], p=provider(up)))
    try:
        room = int(gw.metric("moongate_connections_limit"))
        assert 20 <= room < 100
        streams = [gw.open_chat() for _ in range(room)]
        answers = [s.start() for s in streams]
        assert [a.status for a in answers] == [200] * room
        more = [gw.client() for _ in range(150)]                # no room: closed, since nobody is idle
        assert all(c.at_end() for c in more)
        assert gw.metric("moongate_refused_total", status="connection") == 150
        assert gw.metric("moongate_accept_pauses_total") == 0
        assert gw.admin_get("/admin/status").status == 200
        assert all(a.next_event() for a in answers)
        for s in streams:
            s.close()
        wait_until(lambda: gw.metric("moongate_connections") == 0, "all to be gone")
        with gw.open_chat() as c:
            assert c.start().status == 200
    finally:
        gw.stop()


def test_the_configured_limit_is_warned_of(lab, tmp_path):
    """Goal: limits.connections that descriptors do not allow is said at the start, with what is possible."""
    gw = Small(tmp_path / "small", {**config(["p/m"], p=provider(lab.upstream())), "limits": {"connections": 5000}})
    try:
        assert "warn" in gw.wait_log(r"client connections at most, not 5000 .*200 descriptors")
    finally:
        gw.stop()


def test_descriptors_run_out_under_traffic(lab):
    """Goal: with none left, accepting pauses and is counted, open streams go on, a new request on an open connection fails over and ends in an error of its own;
    when there are some again, all is served as before."""
    spare, p = lab.upstream(actions.ok()), lab.upstream(actions.endless(0.05))
    gw = lab.gateway(config(["p/m", "spare/m"], p=provider(p), spare=provider(spare))).start()
    host, port = gw.address.rsplit(":", 1)
    streams = [gw.open_chat() for _ in range(5)]
    answers = [s.start() for s in streams]
    waiting = [Client(gw.address) for _ in range(5)]            # accepted, and say nothing yet
    wait_until(lambda: gw.metric("moongate_connections") == 10)
    with Client(gw.admin) as admin:                             # its connection is open already
        admin.request("GET", "/healthz")
        assert admin.read().status == 200
        nofile(gw, 5)                                           # below what is open: not one more
        late = [socket.create_connection((host, int(port))) for _ in range(5)]
        for n, c in enumerate(waiting):
            answer = c.request("POST", "/v1/chat/completions", body={"model": "m", "messages": []}).read()
            assert answer.status == 502, answer.body
            assert [(t.split("=")[0], t.split("=")[1].split(":")[0]) for t in answer.header("x-moongate-attempts").split(",")] == [
                ("p/m", "connect_error"), ("spare/m", "connect_error")]
        assert all(a.next_event() for a in answers for _ in range(5))

        def paused():
            text = admin.request("GET", "/metrics").read().body.decode()
            return int(text.split("\nmoongate_accept_pauses_total ")[1].split("\n")[0])
        wait_until(lambda: paused() >= 3, "accepting to pause")
        assert p.count == 5 and spare.count == 0
        nofile(gw, 1024)
    wait_until(lambda: gw.metric("moongate_connections") == 15, "the late ones to be accepted")
    for sock in late:
        sock.close()
    p.script(actions.ok())
    assert [gw.chat().status for _ in range(10)] == [200] * 10
    assert [c.request("POST", "/v1/chat/completions", body={"model": "m", "messages": []}).read().status for c in waiting] == [200] * 5
    for c in [*streams, *waiting]:
        c.close()
