# SPDX-License-Identifier: MIT
"""
The soak of `make soak`, for SOAK_SECONDS: the same mix, every byte checked, no judgement of growth. And that it finds what is planted.
"""
import os
import subprocess
import sys

import pytest
from support.gateway import ROOT

SECONDS = os.environ.get("SOAK_SECONDS", "20")


def soak(*words, seconds=SECONDS):
    command = [sys.executable, "-B", str(ROOT / "tests/soak/soak.py"), "--seconds", seconds, "--rate", "150", "--slots", "64", "--no-verdict", "--out", "", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=float(seconds) + 300)


def test_nothing_lost_doubled_or_out_of_order():
    """Goal: under mixed traffic, faults, reloads and admins' changes every byte of every answer is right, and nothing is left over afterwards."""
    run = soak()
    assert run.returncode == 0, run.stdout + run.stderr
    assert "passed" in run.stdout and " 0 answers (" not in run.stdout


@pytest.mark.parametrize("plant, words", [("double", "differs"), ("lose", "differs")])
def test_what_is_planted_is_found(plant, words):
    """Goal: a provider that says a byte twice, or loses a chunk, makes the soak fail, with the place."""
    run = soak("--plant", plant, seconds="5")
    assert run.returncode == 1 and words in run.stderr, run.stdout + run.stderr
