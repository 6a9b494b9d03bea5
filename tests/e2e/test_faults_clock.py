# SPDX-License-Identifier: MIT
"""
The wall clock leaps by years, forwards and back, as when it is set by hand or for the first time after the start of a machine. Against the plain build, whose
wall clock support/moved_clock.c moves; Retry-After dates and the like in virtual time: tests/unit/test_dialect.c.
"""
import json
import re
import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from conftest import provider_config
from support import actions, wire
from support.crowd import shim
from support.gateway import PLAIN, Gateway
from support.waiting import wait_until

YEARS = 10 * 365 * 86400


class Moved(Gateway):
    binary = PLAIN

    def move(self, seconds):
        (self.folder / "offset").write_text(str(seconds))


@pytest.fixture
def moved(tmp_path):
    made = []
    library = shim("moved_clock", tmp_path)

    def make(config):
        folder = tmp_path / "moved"
        made.append(Moved(folder, config, env={"LD_PRELOAD": str(library), "MOVED_CLOCK": str(folder / "offset")}))
        return made[-1]
    yield make
    for gw in made:
        gw.stop()


def config(p, spare=None, **settings):
    ups = {"p": p, **({"spare": spare} if spare else {})}
    return {**provider_config(ups), "state_dir": "state", "routes": [
        {"name": "chat", "path": "/v1/*", "policy": "failover",
         "settings": {"targets": ["p/m", "spare/m"] if spare else ["p/m"], **settings}}]}


@pytest.mark.parametrize("leap", [YEARS, -YEARS], ids=["forward", "back"])
def test_leap_under_traffic(lab, moved, leap):
    """Goal: streams, timeouts and suspensions go on as if nothing had happened; log times are valid and follow the clock."""
    step = threading.Event()
    p = lab.upstream(actions.stream(wire.role(), wire.delta("one"), step, wire.delta("two"), wire.finish(), wire.DONE), actions.fail(500))
    spare = lab.upstream(actions.ok())
    gw = moved(config(p, spare, suspend=600, idle_timeout=60, breaker={"failures": 1, "recovery": 500}))
    stream = gw.open_chat()
    answer = stream.start()
    assert answer.next_event() and answer.next_event()
    assert gw.chat().status == 200 and gw.suspended("p/m")      # p failed, spare answered
    left = gw.facts("p/m")["suspended_for"]
    gw.move(leap)
    jumped = gw.chat()
    assert jumped.status == 200 and jumped.trail[0][0] == "spare/m"
    assert left - 60 < gw.facts("p/m")["suspended_for"] <= left
    step.set()
    assert wire.text_of(answer.events()) == "two" and answer.clean
    uptime = gw.admin_get("/admin/status").json()["uptime"]
    assert 0 <= uptime < 3600, uptime
    wait_until(lambda: len(gw.access_log()) == 3)
    entry = next(e for e in gw.access_log() if e["id"] == jumped.header("x-moongate-request-id"))
    assert 0 <= entry["total_ms"] < 60000
    logged = datetime.fromisoformat(entry["time"].replace("Z", "+00:00"))
    assert abs(logged - datetime.now(timezone.utc) - timedelta(seconds=leap)) < timedelta(seconds=120)
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", jumped.header("date"))


@pytest.mark.parametrize("leap", [YEARS, -YEARS], ids=["forward", "back"])
def test_leap_over_a_restart(lab, moved, leap):
    """Goal: a suspension is never longer after a restart than it was before, wherever the clock went; a clock that went ahead may end it, and the file stays good."""
    p, spare = lab.upstream(actions.fail(500)), lab.upstream(actions.ok())
    gw = moved(config(p, spare, suspend=600))
    assert gw.chat().status == 200
    file = gw.folder / "state/suspensions.json"
    wait_until(lambda: file.exists() and "p/m" in file.read_text(), "the suspension on the disk")
    gw.kill()
    gw.move(leap)
    gw.start()
    left = gw.facts("p/m").get("suspended_for", 0)
    assert left == 0 if leap > 0 else 0 < left <= 600, left
    assert gw.chat().status == 200 and json.loads(file.read_text())["version"] == 1


def test_stop_after_a_leap_back(lab, moved):
    """Goal: a stop waits by the monotonic clock: it ends though the wall clock went back by years within its drain time."""
    p = lab.upstream(actions.endless(0.05))
    gw = moved({**config(p), "limits": {"drain_time": 1.5}})
    stream = gw.open_chat()
    answer = stream.start()
    assert answer.next_event()
    gw.signal(15)
    gw.wait_log("stopping")
    gw.move(-YEARS)
    gw.checked = True
    assert gw.wait_exit() == 0
    stream.close()


def test_retry_after_dates_follow_the_gateways_clock(lab, moved):
    """Goal: a Retry-After date is read against the clock as it is now: a date that lies years ahead of it is a hint beyond retry_after.max, one behind is none."""
    ahead = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=2), usegmt=True)
    p = lab.upstream(actions.fail(429, headers={"Retry-After": ahead}), actions.ok())
    gw = moved(config(p, retries=1, retry_after={"honour": True, "max": 5}))
    gw.move(-YEARS)
    started = time.monotonic()
    assert gw.chat().status == 429 and p.count == 1             # ten years to wait: at once
    p.script(actions.fail(429, headers={"Retry-After": ahead}), actions.ok())
    gw.move(YEARS)
    assert gw.chat().status == 200 and p.count == 3             # long past: no wait but the usual
    assert time.monotonic() - started < 60
