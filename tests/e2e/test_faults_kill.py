# SPDX-License-Identifier: MIT
"""kill -9 and restart, again and again under traffic: the port is there at once, suspensions are back, the state file is whole. (Settings: test_settings_kill.py.)"""
import json
import os
import random
import socket
import threading
import time

from support import actions
from support.client import call, chat_body
from support.waiting import wait_until

ROUNDS = int(os.environ.get("KILL_ROUNDS", 8))


class Traffic(threading.Thread):
    """Asks until told to stop; keeps every status, 0 where the connection failed."""

    def __init__(self, gw, stream):
        super().__init__(daemon=True)
        self.address, self.stream, self.stopped, self.statuses, self.odd = gw.address, stream, threading.Event(), [], []

    def run(self):
        while not self.stopped.is_set():
            try:
                answer = call(self.address, body=chat_body(self.stream))
                self.statuses.append(answer.status)
                if answer.status == 200 and answer.ended == "clean" and b"one" not in answer.body:
                    self.odd.append(bytes(answer.body))
            except (OSError, EOFError, ValueError):
                self.statuses.append(0)
                time.sleep(0.01)


def free_port():
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_killed_and_started_again_under_traffic(lab):
    """Goal: over many rounds no start fails, none takes a port in vain, the state file is whole each time, and what was suspended and saved stays suspended."""
    bad, good = lab.upstream(actions.fail(500)), lab.upstream(actions.talk("one", "two"))
    good.script(lambda c: (actions.talk("one", "two") if b'"stream"' in c.request.body else actions.ok("one"))(c))
    gw = lab.failover({"bad": bad, "good": good}, {"suspend": 900, "targets": ["bad/m", "good/m"]},
                      config={"state_dir": "state", "listen": f"127.0.0.1:{free_port()}"})
    chance, file = random.Random(4), gw.folder / "state/suspensions.json"
    traffic = [Traffic(gw, n % 2 == 0) for n in range(6)]
    for t in traffic:
        t.start()
    wait_until(lambda: file.exists() and "bad/m" in file.read_text(), "the first suspension on the disk")
    names, address = {"bad/m"}, gw.address
    for turn in range(ROUNDS):
        name = f"bad/round{turn}"
        assert gw.api("POST", f"/admin/targets/bad%2Fround{turn}/suspend", {"seconds": 800}).status in (200, 404)
        time.sleep(chance.uniform(0, 0.3))
        served = sum(t.statuses.count(200) for t in traffic)
        gw.kill()
        saved = {s["name"] for s in json.loads(file.read_text())["suspended"]}
        assert names <= saved, (names, saved)
        names = saved
        gw.start()
        assert gw.address == address
        assert all(gw.suspended(n) for n in names & {"bad/m", name}), gw.targets()
        wait_until(lambda: sum(t.statuses.count(200) for t in traffic) > served + 10, "traffic to go on")
    for t in traffic:
        t.stopped.set()
    for t in traffic:
        t.join(60)
    assert bad.count <= 6, "asked again although it was suspended all the time"
    assert not any(t.odd for t in traffic) and {s for t in traffic for s in t.statuses} <= {0, 200}
    assert [f.name for f in file.parent.iterdir() if "damaged" in f.name] == []
