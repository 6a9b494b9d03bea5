# SPDX-License-Identifier: MIT
"""
Slow, silent and greedy clients, many at a time: others are served meanwhile, and what one costs is bounded by core/base/limits.h and the configuration.
Memory is measured on the plain -O2 build. (One such client at a time: test_http_server.py, test_scenarios_e.py, tests/unit/test_conn.c.)
"""
import resource
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import provider_config
from support import actions, wire
from support.client import Client, assert_openai_error, chat_body
from support.crowd import limit
from support.gateway import PLAIN, Gateway, MemoryWatch
from support.waiting import wait_until

KIB, MIB = 1024, 1024 * 1024
ROUTES = [{"name": "chat", "path": "/v1/*", "policy": "failover", "settings": {"targets": ["p/m"]}}]
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
STREAM_BYTES = 40 * KIB     # DESIGN section 10
SLACK = 2 * MIB     # of the allocator and of what a first request makes


class Plain(Gateway):
    binary = PLAIN


@pytest.fixture(autouse=True)
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def plain(lab, tmp_path):
    """plain(upstream, **limits): a gateway of the plain build with one provider, which has served a request already."""
    made = []

    def make(up, **limits):
        gw = Plain(tmp_path / f"plain{len(made)}", {**provider_config({"p": up}), "limits": limits, "workers": 1, "routes": ROUTES})
        made.append(gw)
        request = gw.chat()
        assert request.status == 200
        return gw
    yield make
    for gw in made:
        gw.stop()


def connected(gw, count, data=b""):
    """`count` connections that have said `data` and nothing more."""
    socks = []
    host, port = gw.address.rsplit(":", 1)
    for n in range(count):
        sock = socket.create_connection((host, int(port)), source_address=(f"127.0.0.{2 + n % 4}", 0))
        sock.sendall(data)
        socks.append(sock)
    return socks


def close(socks):
    for sock in socks:
        sock.close()


def gone(sock):
    """The gateway has closed; what it said before is skipped."""
    sock.settimeout(20)
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_thousands_that_say_nothing(lab, plain):
    """Goal: 4,000 silent connections cost 2 KiB each and hold up nobody."""
    gw = plain(lab.upstream(actions.ok()), idle_time=600)
    before = gw.rss()
    socks = connected(gw, 4000)
    wait_until(lambda: gw.metric("moongate_connections") >= 4000, "all to be accepted")
    each = (gw.rss() - before) / 4000
    print(f"silent: {each:.0f} bytes each")
    assert each <= limit("CONNECTION_IDLE_BYTES")
    assert all(gw.chat().status == 200 for _ in range(20))
    close(socks)


def test_the_silent_are_closed(lab, plain):
    """Goal: limits.idle_time ends 200 silent connections, and their descriptors are free again."""
    gw = plain(lab.upstream(actions.ok()), idle_time=1)
    fds = gw.fds()
    socks = connected(gw, 200)
    assert all(gone(s) for s in socks)
    wait_until(lambda: gw.fds() <= fds + 1, "their descriptors to be closed")
    assert gw.metric("moongate_connections_total") >= 201
    close(socks)


def test_many_slow_heads(lab, plain):
    """Goal: 300 clients whose heads trickle in cost no more than a head's maximum each, and hold up nobody."""
    gw = plain(lab.upstream(actions.ok()), header_time=600)
    before = gw.rss()
    socks = connected(gw, 300, HEAD + b"X-Filler: " + b"x" * (30 * KIB))
    wait_until(lambda: gw.metric("moongate_connections") >= 300, "all to be accepted")
    for _ in range(3):
        for sock in socks:
            sock.sendall(b"x")
        assert gw.chat().status == 200
        time.sleep(0.2)
    each = (gw.rss() - before - SLACK) / 300
    print(f"slow heads: {each / KIB:.1f} KiB each")
    assert each <= limit("MAX_HEADER_BYTES") + 16 * KIB + limit("CONNECTION_IDLE_BYTES")
    close(socks)


def test_slow_heads_are_cut_off(lab, plain):
    """Goal: limits.header_time ends 100 of them with a 408 each, whatever they still send."""
    gw = plain(lab.upstream(actions.ok()), header_time=1)
    socks = connected(gw, 100, HEAD)

    def trickle():
        for sock in socks:
            try:
                sock.send(b"x")
            except OSError:
                pass
        return gw.metric("moongate_refused_total", status="408") == 100
    wait_until(trickle, "all to be refused", pause=0.1)
    assert all(gone(s) for s in socks) and gw.chat().status == 200
    close(socks)


def test_slow_bodies(lab, plain):
    """Goal: bodies slower than 1 KiB/s are refused with a 408 once the grace is over, and those that came in time are served, whatever happens beside them."""
    up = lab.upstream(actions.ok())
    gw = plain(up, body_time=60)
    grace = limit("CONN_BODY_GRACE") / 1e6
    slow = connected(gw, 50, HEAD + b"Content-Length: 1000000\r\n\r\n" + b" " * 1000)
    steady = Client(gw.address)
    body = wire.dumps(chat_body(filler="x" * 26000))
    steady.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
    started = time.monotonic()
    for at in range(0, len(body), 2000):       # 4 KiB a second
        steady.send(body[at:at + 2000])
        assert gw.chat().status == 200
        time.sleep(0.5)
        for sock in slow if at % 4000 == 0 else []:
            try:
                sock.sendall(b" ")
            except OSError:
                pass
    assert time.monotonic() - started < 60, "the machine is too slow to tell: body_time counts, too"
    assert steady.read().status == 200
    assert all(gone(s) for s in slow)
    assert gw.metric("moongate_refused_total", status="408") == 50 and grace == 10
    close(slow)


def pour(total):
    """Sends events, or a large plain answer, for as long as they are taken."""
    block = b"".join(wire.delta("x" * 1000) for _ in range(60))

    def act(call):
        if b'"stream"' in call.request.body:
            call.send(actions.head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}))
            while True:
                call.send(b"%x\r\n%s\r\n" % (len(block), block))
        call.send(actions.head(200, {"Content-Type": "application/json", "Content-Length": total}))
        for _ in range(0, total, 65536):
            call.send(b" " * 65536)
    return act


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "large-answer"])
def test_many_slow_readers(lab, plain, stream):
    """Goal: 30 clients that do not read cost two client buffers each beside a stream (a large answer that was held: its part of a MiB, too) and hold their providers back; limits.write_time ends them all, and others are served."""
    up = lab.upstream(actions.ok(), *[pour(64 * MIB)] * 30, actions.ok())
    gw = plain(up, write_time=5)
    before = gw.rss()
    clients = []
    for _ in range(30):
        c = Client(gw.address, rcvbuf=4096)
        clients.append(c.request("POST", "/v1/chat/completions", body=chat_body(stream)))
    wait_until(lambda: up.count == 31, "all to be asked for")
    assert [gw.chat().status for _ in range(5)] == [200] * 5
    peak = max(gw.rss() for _ in range(50) if not time.sleep(0.02))
    each = (peak - before - SLACK) / 30
    print(f"slow readers: {each / KIB:.1f} KiB each")
    assert each <= STREAM_BYTES + 2 * limit("CLIENT_BUFFER_HIGH") + (0 if stream else limit("MAX_PLAIN_BODY"))
    wait_until(lambda: gw.metric("moongate_requests_total", end="client_gone") == 30, "all to be given up", deadline=60)
    assert gw.metric("moongate_requests_inflight") == 0 and gw.metric("moongate_memory_bytes") == 0
    assert all(call.finished.wait(20) for call in up.calls)
    for c in clients:
        c.close()


def test_connections_are_limited(lab):
    """Goal: at limits.connections idle connections give way to new ones, requests under way never do; what finds no room is closed and counted."""
    up = lab.upstream(actions.endless(0.05))
    up.on("/v1/embeddings", actions.ok())
    gw = lab.failover({"p": up}, config={"workers": 1, "limits": {"connections": 20}})
    idle = connected(gw, 20)
    wait_until(lambda: gw.metric("moongate_connections") == 20)
    streams = [gw.open_chat() for _ in range(20)]
    answers = [s.start() for s in streams]
    assert [a.status for a in answers] == [200] * 20
    assert gw.metric("moongate_connections_evicted_total") == 20 and gw.metric("moongate_connections") == 20
    assert all(gone(s) for s in idle)
    for _ in range(10):
        with gw.client() as c:
            assert c.at_end()
    assert gw.metric("moongate_refused_total", status="connection") == 10
    assert all(a.next_event() for a in answers)
    streams[0].close()
    wait_until(lambda: gw.metric("moongate_connections") == 19)
    assert gw.chat(target="/v1/embeddings").status == 200
    assert gw.metric("moongate_connections_limit") == 20
    for s in streams:
        s.close()
    close(idle)


def test_connections_limit_of_a_reload(lab):
    """Goal: a reload changes the limit for all that come after."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"workers": 1, "limits": {"connections": 5}})
    socks = connected(gw, 5)
    wait_until(lambda: gw.metric("moongate_connections") == 5)
    text = (gw.folder / "gateway.lua").read_text()
    gw.write("gateway.lua", text.replace('["connections"] = 5', '["connections"] = 50'))
    gw.reload()
    socks += connected(gw, 20)
    wait_until(lambda: gw.metric("moongate_connections") == 25)
    assert gw.metric("moongate_connections_evicted_total") == 0 and gw.metric("moongate_connections_limit") == 50
    close(socks)


def readable(sock):
    return bool(select.select([sock], [], [], 0)[0])


def upload(gw, body, release):
    """Sends a request but for its last byte, which follows when `release` is set; the answer."""
    with Client(gw.address, timeout=60) as c:
        c.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
        c.send(body[:-1])
        wait_until(lambda: release.is_set() or readable(c.sock), "the others", deadline=60)
        c.send(body[-1:])
        return c.read()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_memory_of_bodies_is_bounded(lab, plain, chunked):
    """Goal: 40 bodies of 4 MiB at once stay within limits.memory: some are served, the others get a 503 with Retry-After; small requests always work."""
    up = lab.upstream(actions.ok())
    memory = 32 * MIB
    gw = plain(up, memory=memory, body=8 * MIB)
    body = wire.dumps(chat_body(filler="x" * (4 * MIB)))
    release = threading.Event()

    def ask(_):
        if not chunked:
            return upload(gw, body, release)
        with Client(gw.address, timeout=60) as c:
            c.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(body), 65536):
                part = body[at:at + 65536]
                c.send(b"%x\r\n%s\r\n" % (len(part), part))
            wait_until(lambda: release.is_set() or readable(c.sock), "the others", deadline=60)
            c.send(b"0\r\n\r\n")
            return c.read()

    with MemoryWatch(gw) as watch, ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(ask, n) for n in range(40)]
        wait_until(lambda: gw.metric("moongate_memory_refused_total") >= 1, "the memory to be full")
        most = 0
        for _ in range(20):
            assert gw.chat().status == 200
            most = max(most, gw.metric("moongate_memory_bytes"))
        assert 0 < most <= memory * 3 / 4
        release.set()
        answers = [a.result() for a in asked]
    served = [a for a in answers if a.status == 200]
    refused = [a for a in answers if a.status != 200]
    print(f"{len(served)} served, {len(refused)} refused, memory rose by {watch.rise / MIB:.1f} MiB")
    assert served and refused
    for answer in refused:
        assert_openai_error(answer, 503, "overloaded")
        assert answer.header("retry-after") == "1"
    assert watch.rise <= memory + SLACK + 40 * 64 * KIB
    assert gw.metric("moongate_refused_total", status="503") == len(refused) == gw.metric("moongate_memory_refused_total")
    assert all(r.body == body for r in up.requests if len(r.body) > 1000)
    wait_until(lambda: gw.metric("moongate_memory_bytes") == 0, "all memory to be given back")
    assert gw.chat(filler="x" * (4 * MIB)).status == 200


def test_memory_of_answers_is_bounded(lab, plain):
    """Goal: answers held for their policies stay within limits.memory; who finds no room gets a 503 with Retry-After, and no target is blamed."""
    release = threading.Event()
    whole = wire.dumps(wire.completion("x" * (900 * KIB)))

    def act(call):
        call.send(actions.head(200, {"Content-Type": "application/json", "Content-Length": len(whole)}) + whole[:-1])
        call.wait(release)
        call.send(whole[-1:])
    up = lab.upstream(actions.ok(), act)
    up.on("/v1/embeddings", actions.ok())
    gw = plain(up, memory=16 * MIB, body=1 * MIB)
    with MemoryWatch(gw) as watch, ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(gw.chat) for _ in range(40)]
        wait_until(lambda: up.count == 41, "all to be asked for")
        wait_until(lambda: gw.metric("moongate_memory_refused_total") >= 20, f"the memory to be full: {gw.metric('moongate_memory_bytes')}")
        assert gw.metric("moongate_memory_bytes") <= 16 * MIB
        assert [gw.chat(target="/v1/embeddings").status for _ in range(5)] == [200] * 5
        release.set()
        answers = [a.result() for a in asked]
    served = [a for a in answers if a.status == 200]
    refused = [a for a in answers if a.status != 200]
    print(f"{len(served)} served, {len(refused)} refused, memory rose by {watch.rise / MIB:.1f} MiB")
    assert len(served) >= 8 and all(a.body == whole for a in served)
    for answer in refused:
        assert_openai_error(answer, 503, "queue_full")
        assert int(answer.header("retry-after")) >= 1
    assert watch.rise <= 2 * 16 * MIB + SLACK
    assert gw.facts("p/m")["suspended_for"] == 0
    wait_until(lambda: gw.metric("moongate_memory_bytes") == 0, "all memory to be given back")


def test_limits_that_contradict_each_other(lab):
    """Goal: a body that could never fit into the memory is a mistake of the configuration, and is told with both numbers."""
    gw = lab.failover({"p": lab.upstream()}, config={"limits": {"body": 3 * MIB, "memory": 2 * MIB}}, start=False)
    gw.checked = True
    gw.start(wait=False)
    assert gw.process.wait(20) == 1
    assert "limits.memory" in gw.stderr and str(3 * MIB) in gw.stderr and str(4 * MIB + 1) in gw.stderr
