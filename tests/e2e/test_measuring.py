# SPDX-License-Identifier: MIT
"""
What `make bench`, `make profile` and `make soak` judge by: their rules over made-up figures. The programs themselves are run by hand.
"""
import random
import sys

import pytest
from support.gateway import ROOT, Sample

sys.path[:0] = [str(ROOT / "tests/bench"), str(ROOT / "tests/soak")]
import callgrind  # noqa: E402
import history  # noqa: E402
import soak  # noqa: E402


def results(*ratios):
    return [{"rows": [{"name": "CPU", "unit": "us", "moongate": 30.0, "ratio": r, "spread": [r - 0.1, r + 0.1]}]} for r in ratios]


@pytest.mark.parametrize("now, slower", [(1.9, False), (1.98, False), (2.2, True), (3.0, True)])
def test_a_slowdown_is_shown(now, slower):
    """Goal: a ratio above the last runs' median by more than their range, this run's spread and 5 % is slower; a lower one never."""
    rows = results(now)[0]["rows"]
    assert history.compare(rows, results(9.0, 1.85, 1.9, 1.95, 1.9, 1.9)) == (["CPU"] if slower else [])
    assert rows[0]["before"] == pytest.approx(1.9) and rows[0]["slower"] == slower     # the sixth before last, 9.0, counts no more


def test_two_runs_are_no_history():
    """Goal: of figures that drift nothing is said before there are three runs to tell the drift by."""
    rows = results(3.0)[0]["rows"]
    assert history.compare(rows, results(1.9, 1.9)) == [] and rows[0]["before"] == pytest.approx(1.9) and "slower" not in rows[0]


def test_instructions_are_judged_by_themselves():
    """Goal: a ratio that moved because the other proxy's figure did is no slowdown."""
    earlier = [{"rows": [{"name": "I", "moongate": 10.2, "ratio": 2.0, "steady": True}]}]
    assert history.compare([{"name": "I", "moongate": 10.4, "ratio": 2.5, "steady": True}], earlier) == []
    assert history.compare([{"name": "I", "moongate": 11.0, "ratio": 1.9, "steady": True}], earlier) == ["I"]


def test_a_first_run_is_compared_with_nothing(tmp_path):
    """Goal: no history, no verdict; what is kept is found again, and only on the same machine."""
    rows, path = results(2.0)[0]["rows"], tmp_path / "history.jsonl"
    assert history.compare(rows, history.load(path)) == [] and "before" not in rows[0]
    history.keep(path, {"rows": rows})
    path.write_text(path.read_text() + path.read_text().replace(history.machine(), "another machine"))
    assert len(history.load(path)) == 1


@pytest.mark.parametrize("kills, reason, answers, told", [
    (1, "stretch", 600_000, False), (2, "stretch", 600_000, True), (1, "stretch", 400_000, True), (1, "memory", 600_000, True)])
def test_a_stopped_policy_is_borne_when_rare(kills, reason, answers, told):
    """Goal: one policy in half a million may be stopped by a CPU clock that a host's other guests move, nothing else may fail."""
    metrics = [Sample("moongate_policy_kills_total", {"policy": "p", "reason": reason}, kills),
               Sample("moongate_default_plans_total", {"route": "r"}, kills)]
    assert bool(soak.policy_problems(metrics, answers)) == told
    assert soak.policy_problems([Sample("moongate_policy_failures_total", {"route": "r", "reason": "error"}, 1.0)], answers)


def samples(growth, noise):
    generator = random.Random(1)
    return [{"t": t, "rss_mb": 40 + growth * t / 1800 + generator.uniform(-noise, noise), "fds": 150 + generator.randint(-40, 40)}
            for t in range(0, 1800, 5)]


@pytest.mark.parametrize("growth, flat", [(0, True), (2, True), (10, False)])
def test_growth_is_told_from_noise(growth, flat):
    """Goal: memory that gains 10 MB in half an hour is found within noise of 6 MB, and noise alone is not taken for growth."""
    found = {row[0]: row[-1] for row in soak.judge(samples(growth, 3), 300)}
    assert found == {"rss_mb": flat, "fds": True}


def test_instructions_are_read(tmp_path):
    """Goal: callgrind's compressed names, relative positions and calls are added up by function."""
    path = tmp_path / "callgrind.out.1"
    path.write_text("version: 1\nevents: Ir\n\nob=(1) /bin/p\nfl=(1) a.c\nfn=(1) main\n10 5\n+2 7\ncfn=(2) work\ncalls=3 20\n* 30\n\n"
                    "fl=(1)\nfn=(2)\n20 10\nfi=(2) inline.h\n+1 20\n\ntotals: 42\n")
    profile = callgrind.Profile([path])
    main, work = profile.functions["/bin/p", "a.c", "main"], profile.functions["/bin/p", "a.c", "work"]
    assert (main.own, dict(main.calls), work.own, profile.total) == (12, {("/bin/p", "a.c", "work"): 30}, 30, 42)
