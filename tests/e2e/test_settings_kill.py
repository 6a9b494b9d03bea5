# SPDX-License-Identifier: MIT
"""
kill -9 in the middle of settings changes: after the next start either the old or the new settings are in force, whole, and nothing acknowledged is lost.

The audit log: a record is one line, written at once, so kill -9 leaves none cut. Should a power cut leave a last line without its end, readers
pass over that one line, and the gateway begins its next record on a line of its own.
"""
import json
import os
import random
import threading
import time

from support import actions
from support.rules import ADMIN, Rules
from support.waiting import wait_until

ROUNDS = int(os.environ.get("KILL_ROUNDS", 20))


def filler(n):
    return f"{n}-" * 500


def settings_of(n):
    """Settings that tell their number in several places, in a file of some size."""
    targets = [{"target": "p/p-model", "weight": n, "headers": {"x-filler": filler(n)}}] + [f"p/m{k}-{n}" for k in range(10)]
    return {"suspend": n, "deadline": 1000 + n, "targets": targets}


def number_of(overlay):
    """The number that these settings tell; all its places have to agree."""
    n = int(overlay["suspend"])
    assert overlay == settings_of(n), f"a mixture: {json.dumps(overlay)[:300]}"
    return n


class Changer(threading.Thread):
    """PUTs settings with rising numbers until the gateway is gone."""

    def __init__(self, rules, first):
        super().__init__(daemon=True)
        self.rules, self.asked, self.acknowledged, self.version, self.problem = rules, first - 1, 0, 0, None

    def run(self):
        while True:
            self.asked += 1
            try:
                answer = self.rules.put(settings_of(self.asked))
                value = answer.json()
            except (OSError, EOFError, AssertionError, ValueError):
                return                                      # the gateway was killed
            if answer.status != 200 or value["ok"] is not True or value["persistent"] is not True:
                self.problem = (answer.status, value)
                return
            self.acknowledged, self.version = self.asked, value["version"]


def test_killed_while_settings_change(lab):
    """Goal: over many kills at random moments the settings are always whole: the last acknowledged, or the one that was being put."""
    up = lab.upstream(actions.ok())
    gw = lab.failover({"p": up}, config={"admin": ADMIN, "state_dir": "state"})
    rules, chance, last, version, changes = Rules(gw), random.Random(6), 0, 0, 0
    for turn in range(ROUNDS):
        changer = Changer(rules, last + 1)
        changer.start()
        wait_until(lambda: changer.acknowledged or changer.problem, "the first change of the round")
        time.sleep(chance.uniform(0, 0.15))
        gw.kill()
        changer.join(30)
        assert not changer.problem and not changer.is_alive(), changer.problem
        changes += changer.acknowledged - last

        on_disk = json.loads((gw.folder / "state" / "settings.json").read_text())
        assert on_disk["format"] == 1
        gw.start()
        found = rules.settings()
        n = number_of(found["overlay"])
        assert n in (changer.acknowledged, changer.asked), f"round {turn}: {n}, acknowledged {changer.acknowledged}, asked {changer.asked}"
        assert found["version"] == on_disk["routes"]["chat"]["version"] >= changer.version > version
        assert number_of(on_disk["routes"]["chat"]["settings"]) == n
        assert int(found["effective"]["suspend"]) == n and int(found["effective"]["deadline"]) == 1000 + n
        answer = gw.chat()
        assert answer.status == 200 and up.requests[-1].header("x-filler") == filler(n), (n, answer.trail)
        last, version = changer.asked, found["version"]
        assert sum(1 for r in rules.audit() if r["result"] == "applied" and r["action"] == "settings") >= changes
    assert changes >= ROUNDS
    left = {p.name for p in (gw.folder / "state").iterdir() if "settings" in p.name}
    assert len(left) <= 2, f"temporary files pile up: {left}"


def test_killed_while_reloads_and_settings_change(lab):
    """Goal: the same with reloads in between: neither a reload nor a change takes the other away."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"admin": ADMIN, "state_dir": "state"})
    rules, chance, last = Rules(gw), random.Random(7), 0
    text = (gw.folder / "gateway.lua").read_text()
    for turn in range(6):
        changer = Changer(rules, last + 1)
        changer.start()
        wait_until(lambda: changer.acknowledged or changer.problem, "the first change of the round")
        for n in range(3):
            gw.write("gateway.lua", text + f"-- edit {turn} {n}\n")
            assert rules.reload()[0] == 200
        time.sleep(chance.uniform(0, 0.1))
        gw.kill()
        changer.join(30)
        assert not changer.problem, changer.problem
        gw.start()
        assert number_of(rules.settings()["overlay"]) in (changer.acknowledged, changer.asked)
        last = changer.asked


def test_half_a_file_beside_it(lab):
    """Goal: what a kill leaves of the temporary file is neither read nor in the way."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"admin": ADMIN, "state_dir": "state"})
    rules = Rules(gw)
    rules.set({"suspend": 7})
    gw.kill()
    for name in ("settings.json.tmp", "settings.json.new", ".settings.json.tmp", "settings.json~"):
        (gw.folder / "state" / name).write_text('{"format":1,"version":9,"routes":{"chat":{"vers')
    gw.start()
    assert rules.settings()["overlay"] == {"suspend": 7}
    rules.set({"suspend": 8})
    gw.kill()
    gw.start()
    assert rules.settings()["overlay"] == {"suspend": 8}


def test_corrupt_settings_refuse_the_start(lab):
    """Goal: a settings file that is no JSON (no crash leaves one) is told and not passed over: the start is refused and names the file."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"admin": ADMIN, "state_dir": "state"})
    Rules(gw).set({"suspend": 7})
    gw.kill()
    accepted = []
    for text in ('{"format":1,"ver', "", '{"format":99,"version":1,"routes":{}}', "[]", '{"format":1,"version":1,"routes":[1]}'):
        (gw.folder / "state" / "settings.json").write_text(text)
        gw.start(wait=False)
        wait_until(lambda: gw.process.poll() is not None or "ready" in gw.stderr, "the start to end in one way or the other")
        if gw.process.poll() in (None, 0):
            accepted.append(text)
            gw.process.kill()
        elif "settings.json" not in gw.stderr:
            accepted.append(f"not named: {text}")
        gw.process.wait()
        gw.put_aside()
    gw.checked = True
    assert not accepted


def test_audit_after_half_a_line(lab):
    """Goal: after a last line without its end the next record has a line of its own."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"admin": ADMIN, "state_dir": "state"})
    rules = Rules(gw)
    rules.set({"suspend": 7})
    gw.kill()
    with open(gw.folder / "state" / "audit.log", "a") as log:
        log.write('{"time":"2026-01-01T00:00:00Z","who":"adm')
    gw.start()
    rules.set({"suspend": 8})
    assert json.loads(rules.audit_text().splitlines()[-1])["result"] == "applied"
