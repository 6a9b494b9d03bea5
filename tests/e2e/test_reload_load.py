# SPDX-License-Identifier: MIT
"""
Reloads under load, half of them of broken files: no request fails, every stream is whole, and each request is served by exactly one generation.

RELOADS, RELOAD_SECONDS and RELOAD_RATE set how many, in how long at the least, and under how many requests a second; `make bench` runs the full
figures (200 in 20 s under 500/s) against the build without sanitizers. How quickly it goes is not judged here.
"""
import os

import pytest
from support import storm
from support.storm import Storm
from support.waiting import wait_until

RELOADS = int(os.environ.get("RELOADS", 40))
SECONDS = float(os.environ.get("RELOAD_SECONDS", 0))
RATE = float(os.environ.get("RELOAD_RATE", 500))


@pytest.mark.parametrize("workers", [1, 4])
def test_reloads_under_load(lab, workers):
    """Goal: half of the reloads are of broken files and are refused with diagnostics; the others apply; nobody's request or stream suffers."""
    gw, over = storm.start(lab, workers=workers, state_dir="state")
    with Storm(gw, rate=RATE, over=over) as s:
        s.reload(RELOADS, pace=SECONDS / RELOADS)
    s.check()
    s.check_log()
    print(s.figures)
    assert len(s.applied) - 1 == (RELOADS + 1) // 2 and s.refused == RELOADS // 2


def test_reloads_of_twenty_policies_under_load(lab):
    """Goal: the same with twenty policies and routes, all of which change at once."""
    gw, over = storm.start(lab, policies=20)
    with Storm(gw, rate=RATE, streams=20, policies=20, over=over) as s:
        s.reload(RELOADS // 2)
    s.check()
    s.check_log()


def test_activations_under_load(lab):
    """Goal: rolling back and forward under traffic is as smooth: each answer is of a version that was put in force."""
    gw, over = storm.start(lab)
    with Storm(gw, rate=RATE, over=over) as s:
        s.reload(2, broken=False)
        ids = sorted(s.rules.generations())[-3:]
        for n in range(12):
            answer = s.rules.activate(ids[n % 3])
            assert answer.status == 200 and answer.json()["active"] == ids[n % 3] == s.rules.active, answer.body
    assert not s.problems, s.problems[:5]
    assert {stamp for _, _, stamp, _ in s.answers} <= {0, 1, 2}
    s.check_log()


def test_draining_generations_go(lab):
    """Goal: when the load is over only the active generation and at most five kept ones are left, and nothing refers to the old ones."""
    gw, over = storm.start(lab)
    with Storm(gw, rate=100, streams=4, over=over) as s:
        s.reload(16, broken=False)
        during = s.rules.generations()
        assert any(g["state"] == "draining" and g["references"] > 0 for g in during.values()), during
    s.check()

    def quiet():
        rest = s.rules.generations()
        return len(rest) <= 5 and all(g["state"] in ("active", "kept") and g["references"] == 0 for g in rest.values())
    wait_until(quiet, "the old generations to be let go")
