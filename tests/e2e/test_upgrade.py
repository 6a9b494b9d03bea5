# SPDX-License-Identifier: MIT
"""One process after another: `serve --take-over`, under load and when something goes wrong on the way."""
import os
import signal
import socket
import ssl
import subprocess
import threading

import pytest
from support import actions, wire
from support.certs import Certs
from support.client import Client
from support.gateway import BINARY, check_reports
from support.traffic import WORDS, Traffic
from support.waiting import PATIENCE, wait_until

PACE = 0.03  # between the events of a stream


def provider(call):
    """Streams for those who ask for one, else an answer at once."""
    if not call.request.json().get("stream"):
        actions.ok()(call)
        return
    events = [item for word in WORDS for item in (PACE, wire.delta(word))]
    actions.stream(wire.role(), *events, wire.finish(), wire.DONE)(call)


@pytest.fixture
def gw(lab):
    up = lab.upstream(provider)
    bad = lab.upstream(actions.fail(500))
    return lab.failover({"bad": bad, "p": up}, {"suspend": 600, "targets": ["bad/x", "p/m"]}, start=False,
                        config={"state_dir": "state", "workers": 3, "limits": {"drain_time": 60}})


def ended(old, status=0):
    """Waits for the end of a process that was put aside."""
    wait_until(lambda: old.process.poll() is not None, "the old process to end", 60)
    assert old.process.returncode == status, old.log.read_text()
    old.check()


@pytest.mark.parametrize("rounds", [10])
def test_upgrades_under_load(gw, rounds):
    """Goal: ten processes one after another under load: nobody is refused or reset, every stream is whole, suspensions are kept."""
    gw.start()
    assert gw.chat().trail[0][0] == "bad/x"  # from here on suspended
    address, admin, before = gw.address, gw.admin, []
    with Traffic(gw.address, fresh=2, kept=2, streams=3) as traffic:
        for _ in range(rounds):
            seen = dict(traffic.count)
            wait_until(lambda: all(traffic.count[k] > seen.get(k, 0) for k in ("fresh", "kept", "streams")), "traffic", 60)
            before.append(gw.take_over())
            assert (gw.address, gw.admin) == (address, admin)
            assert gw.suspended("bad/x")
        for old in before:
            ended(old)
    assert traffic.failures == [] and traffic.count["moved"] > 0, (traffic.failures, traffic.count)
    assert gw.chat().trail == [("p/m", "ok", 200)]


def test_settings_and_readiness_go_over(gw):
    """Goal: settings that an admin put on go over; while the old one drains it writes no more, the new one does."""
    gw.start()
    assert gw.api("PUT", "/admin/routes/chat/settings", {"suspend": 77}).status == 200
    with Client(gw.address) as kept:
        assert kept.request("GET", "/v1/models").read().status == 200
        old = gw.take_over()
        wait_until(lambda: kept.request("GET", "/v1/models").read().header("connection") == "close", "the old one to say that it goes")
    shown = gw.api("GET", "/admin/routes/chat/settings").json()
    assert "77" in str(shown)
    assert gw.api("POST", "/admin/targets/p%2Fm/suspend", {"seconds": 500}).status == 200
    ended(old)
    gw.kill()
    gw.start()
    assert gw.suspended("p/m")


def test_fewer_workers_and_another_address(gw, lab):
    """Goal: the new process may have fewer or more workers and further addresses: sockets it does not want are drained."""
    gw.start()
    for workers in (1, 4):
        text = (gw.folder / "gateway.lua").read_text()
        gw.write("gateway.lua", text.replace('["workers"] = 3', f'["workers"] = {workers}').replace('["workers"] = 1', f'["workers"] = {workers}'))
        with Traffic(gw.address, fresh=3) as traffic:
            old = gw.take_over()
            ended(old)
        assert traffic.failures == [] and f"{workers} worker" in gw.stderr
    text = (gw.folder / "gateway.lua").read_text()
    gw.write("gateway.lua", text.replace('["listen"] = "127.0.0.1:0"', '["listen"] = { "127.0.0.2:0", "127.0.0.1:0" }', 1))
    address = gw.address
    ended(gw.take_over())
    assert gw.addresses[1] == address and gw.addresses[0].startswith("127.0.0.2:")
    assert gw.chat().status == 200


def beside(gw, folder="state"):
    """A second process on the same addresses, with this state_dir."""
    config = (gw.folder / "gateway.lua").read_text().replace('"state"', f'"{folder}"')
    for address in (gw.address, gw.admin):
        config = config.replace('"127.0.0.1:0"', f'"{address}"', 1)
    gw.write("beside.lua", config)
    log = open(gw.folder / "beside.log", "wb")
    return subprocess.Popen([BINARY, "serve", "-c", gw.folder / "beside.lua"], stdout=subprocess.DEVNULL, stderr=log)


def said(gw, text):
    wait_until(lambda: text in (gw.folder / "beside.log").read_text(), text)


def test_second_process_beside_the_first(gw):
    """Goal: started beside the first one on the same port, a second process serves, leaves state_dir alone until the first has
    ended, and nobody is refused when that one is stopped."""
    gw.start()
    second = None
    try:
        with Traffic(gw.address, fresh=2, kept=2) as traffic:
            second = beside(gw)
            said(gw, f"in use by another gateway (process {gw.process.pid})")
            said(gw, "another process listens at an address of ours")
            said(gw, "ready")
            gw.stop()
            said(gw, "state_dir is ours")
            seen = dict(traffic.count)
            wait_until(lambda: all(traffic.count[k] > seen.get(k, 0) for k in ("fresh", "kept")), "traffic")
            assert gw.suspended("bad/x")
            assert gw.api("PUT", "/admin/routes/chat/settings", {"suspend": 7}).status == 200
    finally:
        if second:
            second.terminate()
            assert second.wait(60) == 0
    check_reports((gw.folder / "beside.log").read_text())
    assert traffic.failures == [], traffic.count


def test_nobody_to_take_over_from(gw):
    """Goal: --take-over where nobody runs, or where somebody was killed, is a start like any other; without state_dir it is refused."""
    gw.start(options=["--take-over"])
    gw.kill()
    gw.start(options=["--take-over"])
    assert gw.chat().status == 200
    gw.stop()
    text = (gw.folder / "gateway.lua").read_text()
    gw.write("gateway.lua", text.replace('["state_dir"] = "state",', ""))
    run = subprocess.run([BINARY, "serve", "-c", gw.folder / "gateway.lua", "--take-over"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and "state_dir" in run.stderr, run.stderr


def test_broken_configuration_does_not_replace(gw):
    """Goal: a new process that finds its configuration wrong ends with 1, and the old one has not even been asked."""
    gw.start()
    text = (gw.folder / "gateway.lua").read_text()
    gw.write("gateway.lua", text.replace('["workers"]', '["wrkers"]'))
    run = subprocess.run([BINARY, "serve", "-c", gw.folder / "gateway.lua", "--take-over"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and "wrkers" in run.stderr, run.stderr
    gw.write("gateway.lua", text)
    assert "take over" not in gw.stderr and gw.chat().status == 200
    ended(gw.take_over())


class Half:
    """The starting side of a hand-over, as far as the test wants it."""

    def __init__(self, gw):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        here = os.open(gw.folder / "state", os.O_PATH)
        self.sock.connect(f"/proc/self/fd/{here}/handover.sock")
        os.close(here)
        self.sock.settimeout(20)
        self.fds = []

    def say(self, text):
        self.sock.send(text.encode())

    def hear(self):
        text, fds, _, _ = socket.recv_fds(self.sock, 4096, 256)
        self.fds += fds
        return text.decode()

    def begin(self):
        self.say("moongate 1 hello")
        heard = []
        while (text := self.hear()) != "end":
            heard.append(text)
        return heard

    def leave(self):
        self.sock.close()
        for fd in self.fds:
            os.close(fd)


@pytest.mark.parametrize("step", ["hello", "take", "nonsense"])
def test_process_that_dies_in_the_hand_over(gw, step):
    """Goal: when the new process dies on the way, the old one serves on, loads again, writes again, and can be replaced."""
    gw.start()
    half = Half(gw)
    assert sorted("".join(half.begin()).removeprefix("sockets ")) == sorted("lololoao") and len(half.fds) == 4
    assert gw.api("POST", "/admin/reload").status == 422  # settings and files stay as they were
    if step == "take":
        half.say("take")
        assert half.hear() == "yours"
    elif step == "nonsense":
        half.say("done 1111")
        assert half.hear().startswith("no ")
    half.leave()
    gw.wait_log("did not take over")
    assert gw.api("POST", "/admin/reload").status == 200
    assert gw.chat().status == 200
    saved = gw.folder / "state/suspensions.json"
    wait_until(lambda: saved.exists() and "bad/x" in saved.read_text(), "the state to be written")
    ended(gw.take_over())
    assert gw.suspended("bad/x")


def test_one_hand_over_at_a_time(gw):
    """Goal: who asks while a hand-over is under way is told so."""
    gw.start()
    half, other = Half(gw), Half(gw)
    half.begin()
    assert "already" in other.hear()
    run = subprocess.run([BINARY, "serve", "-c", gw.folder / "gateway.lua", "--take-over"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and "already" in run.stderr, run.stderr
    half.leave()
    other.leave()
    gw.wait_log("did not take over")


def test_old_process_that_hangs(gw):
    """Goal: an old process that does not answer is no reason to hang: the new one ends with 1 and says which process it is."""
    gw.start()
    gw.signal(signal.SIGSTOP)
    try:
        run = subprocess.run([BINARY, "serve", "-c", gw.folder / "gateway.lua", "--take-over"], capture_output=True, text=True, timeout=60)
    finally:
        gw.signal(signal.SIGCONT)
    assert run.returncode == 1 and f"process {gw.process.pid}" in run.stderr and "does not answer" in run.stderr, run.stderr
    assert gw.chat().status == 200


def test_signal_to_who_was_replaced(gw):
    """Goal: the SIGTERM that a script sends to the old process after the hand-over does not cut its streams; a second one does."""
    gw.start()
    with gw.open_chat() as c:
        answer = c.start()
        assert answer.next_event()
        old = gw.take_over()
        old.process.send_signal(signal.SIGTERM)
        answer.rest()
        assert answer.clean and b"[DONE]" in answer.body
    ended(old)


@pytest.fixture
def https(lab, tmp_path):
    """The gateway of the other tests behind TLS, and with much time for a client's head."""
    certs = Certs(tmp_path)
    root = certs.ca("root")
    made = lab.failover({"p": lab.upstream(provider)}, start=False,
                        config={"state_dir": "state", "limits": {"drain_time": 60, "header_time": 60},
                                "listen": {"address": "127.0.0.1:0", "tls": certs.leaf(root, "here").lua}})
    made.tls = root.client()
    return made.start()


def test_upgrades_of_a_tls_listener(https):
    """Goal: over TLS nobody notices either: handshakes, kept connections and streams go on through processes that follow each other."""
    before = []
    with Traffic(https.address, fresh=2, kept=2, streams=2, tls=https.tls) as traffic:
        for _ in range(3):
            seen = dict(traffic.count)
            wait_until(lambda: all(traffic.count[k] > seen.get(k, 0) for k in ("fresh", "kept", "streams")), "traffic", 60)
            before.append(https.take_over())
        for old in before:
            ended(old)
    assert traffic.failures == [] and traffic.count["moved"] > 0, (traffic.failures, traffic.count)


def late_handshake(sock, context, request):
    """Shakes hands over a connected socket; the request follows in the packet that ends the handshake. Returns the answer's bytes up to the end."""
    arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(arrived, leaving, server_hostname="127.0.0.1")

    def until(step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                if leaving.pending:
                    sock.sendall(leaving.read())
                data = sock.recv(65536)
                assert data, "the gateway closed in the handshake"
                arrived.write(data)
    until(tls.do_handshake)
    tls.write(request)
    answer = b""
    while data := until(lambda: tls.read(65536)):
        answer += data
    return answer


def test_stop_with_tls_clients_under_way(https):
    """Goal: after SIGTERM a stream over TLS goes on to its end, and a client that had connected may take its time for the handshake."""
    with https.open_chat() as c, https.client() as idle, socket.create_connection(https.address.rsplit(":", 1), PATIENCE) as slow:
        answer = c.start()
        assert answer.next_event()
        https.signal(signal.SIGTERM)
        https.wait_log("stopping")
        answer.rest()
        assert answer.clean and b"[DONE]" in answer.body
        assert idle.sock.recv(1) == b""  # who only waits has had its time by now
        answered = late_handshake(slow, https.tls, b"GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n")
        assert answered.startswith(b"HTTP/1.1 200 ") and b"connection: close" in answered.lower(), answered
    assert https.wait_exit() == 0
    https.checked = True
    https.check_reports()


class Other:
    """The running side of a hand-over, played by the test: `last` is what it says to "done"; None: it hangs up."""

    def __init__(self, gw, last):
        self.last, self.held = last, socket.create_server(("127.0.0.1", 0), backlog=64)
        (gw.folder / "state").mkdir()
        here = os.open(gw.folder / "state", os.O_PATH)
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listening.bind(f"/proc/self/fd/{here}/handover.sock")
        os.close(here)
        self.listening.listen(1)
        self.listening.settimeout(PATIENCE)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        peer, _ = self.listening.accept()
        with peer:
            peer.settimeout(PATIENCE)
            assert peer.recv(100) == b"moongate 1 hello"
            socket.send_fds(peer, [b"sockets lo"], [self.held.fileno()])
            peer.send(b"end")
            assert peer.recv(100) == b"take"
            peer.send(b"yours")
            assert peer.recv(2000).startswith(b"done ")
            if self.last:
                peer.send(self.last)

    def close(self):
        self.thread.join(PATIENCE)
        self.held.close()
        self.listening.close()


def test_old_process_that_is_killed_at_the_end(gw):
    """Goal: an old process that ends before it says goodbye leaves somebody who serves; one that says it serves on is believed."""
    other = Other(gw, None)
    gw.start(options=["--take-over"])
    other.close()
    assert "ended the hand-over" in gw.stderr and gw.chat().status == 200


def test_old_process_that_serves_on(gw):
    """Goal: when the old process takes its place back, the new one ends with 1, says what it was told, and leaves it sockets that work."""
    other = Other(gw, b"no it took too long")
    run = subprocess.run([BINARY, "serve", "-c", gw.folder / "gateway.lua", "--take-over"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and "it took too long" in run.stderr, run.stderr
    socket.create_connection(other.held.getsockname(), 20).close()
    other.close()


def test_new_process_that_fails_late(gw):
    """Goal: a new process that had the state_dir already, and then finds an address taken, leaves it before the old one wants it back."""
    gw.start()
    assert gw.chat().trail[0][0] == "bad/x"  # something to save
    text = (gw.folder / "gateway.lua").read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        there = "127.0.0.1:%d" % taken.getsockname()[1]
        gw.write("gateway.lua", text.replace('["listen"] = "127.0.0.1:0"', f'["listen"] = {{ "127.0.0.1:0", "{there}" }}', 1))
        run = subprocess.run([BINARY, "serve", "-c", gw.folder / "gateway.lua", "--take-over"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and there in run.stderr, run.stderr
    gw.write("gateway.lua", text)
    gw.wait_log("did not take over")
    assert gw.api("POST", "/admin/targets/p%2Fm/suspend", {"seconds": 500}).status == 200
    wait_until(lambda: "p/m" in (gw.folder / "state/suspensions.json").read_text(), "the state to be written")
    assert "cannot be saved" not in gw.stderr
