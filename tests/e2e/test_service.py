# SPDX-License-Identifier: MIT
"""Under a service manager: sockets that it passes, what it is told, and the units of examples/systemd/."""
import signal
import socket

import pytest
from support import actions
from support.client import Client, call, chat_body
from support.service import UNITS, Manager, unit
from support.traffic import Traffic
from support.waiting import wait_until


@pytest.fixture
def manager():
    made = Manager("moongate.socket", "moongate-admin.socket")
    yield made
    made.close()


def stopped(gw):
    """SIGTERM, the end with status 0, and a log put aside."""
    gw.signal(signal.SIGTERM)
    assert gw.wait_exit() == 0
    gw.put_aside()


def test_sockets_are_used(lab, manager):
    """Goal: the gateway serves on the passed sockets, with all its workers, and tells when it is ready, loads again and stops."""
    up = lab.upstream(actions.ok())
    gw = manager.service(lab, up.base_url).start()
    assert manager.next() == {"READY": "1", "MAINPID": str(gw.process.pid)}
    assert [gw.address, gw.admin] == list(manager.ports.values())
    assert gw.chat().status == 200 and call(gw.admin, "GET", "/readyz").status == 200
    gw.signal(signal.SIGHUP)
    assert {"RELOADING", "MONOTONIC_USEC"} == set(manager.next()) and manager.next()["READY"] == "1"
    gw.stop()
    assert manager.next() == {"STOPPING": "1"}


def test_manager_that_reads_nothing(lab, manager):
    """Goal: who does not read what it is told keeps the gateway neither from serving nor from stopping."""
    manager.fill()
    gw = manager.service(lab, lab.upstream(actions.ok()).base_url).start()
    assert gw.chat().status == 200
    gw.signal(signal.SIGTERM)
    assert gw.wait_exit() == 0
    gw.checked = True
    gw.check_reports()


def test_connection_waits_for_the_next_process(lab, manager):
    """Goal: while no process runs nobody is refused: the connection waits in the manager's socket and the next process answers it."""
    gw = manager.service(lab, lab.upstream(actions.ok()).base_url).start()
    stopped(gw)
    with Client(gw.address) as c:
        c.request("POST", "/v1/chat/completions", (), chat_body())
        gw.start()
        assert c.read().status == 200


def test_restarts_under_load(lab, manager):
    """Goal: restarts one after another under load: nobody is refused or reset."""
    gw = manager.service(lab, lab.upstream(actions.ok()).base_url).start()
    with Traffic(gw.address, fresh=3, kept=3) as traffic:
        for _ in range(4):
            seen = dict(traffic.count)
            wait_until(lambda: all(traffic.count[k] > seen.get(k, 0) for k in ("fresh", "kept")), "traffic", 60)
            stopped(gw)
            gw.start()
    assert traffic.failures == [], traffic.count


def fails(gw):
    """Starts it in vain; what it said."""
    gw.start(wait=False)
    assert gw.wait_exit() == 1, gw.stderr
    gw.checked = True
    gw.check_reports()
    return gw.stderr


def test_socket_that_is_not_configured(lab, manager):
    """Goal: a socket at another address than the configuration names is a mistake that says both."""
    gw = manager.service(lab, "http://127.0.0.1:1/v1")
    text = (gw.folder / "gateway.lua").read_text()
    address = manager.ports["127.0.0.1:8080"]
    gw.write("gateway.lua", text.replace(address, "127.0.0.1:0"))
    gw.write("gateway.lua", text.replace(f'"{address}"', '"127.0.0.2:0"'))
    said = fails(gw)
    assert f"a listening socket at {address} was passed, which listen does not name" in said


@pytest.mark.parametrize("fds,said", [("x", 'LISTEN_FDS is "x": expected a number'), ("7", 'LISTEN_FDS is "7": expected that many descriptors')])
def test_variables_that_make_no_sense(lab, manager, fds, said):
    """Goal: what cannot be right is told, not guessed at."""
    gw = manager.service(lab, "http://127.0.0.1:1/v1")
    manager.pass_to(gw, LISTEN_FDS=fds)
    assert said in fails(gw)


def test_descriptor_that_does_not_listen(lab, manager):
    """Goal: a descriptor that is no listening socket is told."""
    manager.sockets["listen"].close()
    manager.sockets["listen"] = socket.socket()
    gw = manager.service(lab, "http://127.0.0.1:1/v1")
    assert "descriptor 3 was passed, but it is no listening TCP socket" in fails(gw)


def test_sockets_of_another_process(lab, manager):
    """Goal: variables that a parent left in the environment (LISTEN_PID is another's) mean nothing."""
    gw = manager.service(lab, lab.upstream(actions.ok()).base_url)
    for port in manager.ports.values():
        gw.write("gateway.lua", (gw.folder / "gateway.lua").read_text().replace(port, "127.0.0.1:0"))
    manager.pass_to(gw, LISTEN_PID="1")
    gw.start()
    assert gw.address not in manager.ports.values() and gw.chat().status == 200


def test_instances_by_turns(lab):
    """Goal: the instance unit: blue, then green on the same state_dir, which takes over; each says that it is ready as itself."""
    manager = Manager()
    gw = manager.service(lab, lab.upstream(actions.ok()).base_url)
    gw.start(options=["--take-over"])
    assert manager.next()["MAINPID"] == str(gw.process.pid)
    old = gw.take_over()
    assert manager.next() == {"READY": "1", "MAINPID": str(gw.process.pid)}
    wait_until(lambda: old.process.poll() == 0, "the old instance to end")
    assert gw.chat().status == 200
    manager.close()


def test_units_fit():
    """Goal: the units name what there is: the command's options, the configuration's addresses, the socket's service, more time than the drain."""
    config = (UNITS / "gateway.lua").read_text()
    plain, instance = unit("moongate.service")["Service"], unit("moongate@.service")["Service"]
    assert plain["ExecStart"] + " --take-over" == instance["ExecStart"]
    assert plain["Type"] == instance["Type"] == "notify-reload"
    assert int(plain["TimeoutStopSec"]) > 30 and "drain_time = 30" in config
    for name, role in (("moongate.socket", "listen"), ("moongate-admin.socket", "admin")):
        section = unit(name)["Socket"]
        assert section["FileDescriptorName"] == role and f'"{section["ListenStream"]}"' in config
        assert section.get("Service", name.replace(".socket", ".service")) == "moongate.service"
        assert name in unit("moongate.service")["Unit"]["Requires"]
