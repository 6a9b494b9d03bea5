# SPDX-License-Identifier: MIT
"""
The way of a policy's author, as policies/README.md tells it: from an empty folder a policy is written, checked, tested,
explained, simulated, served and changed while it serves. Each block of the page is done as it stands; what the commands
print has to be what the page shows. See test_readme.py for how they are compared.
"""
import re

import pytest
from test_readme import POLICIES, Terminal, fenced

START = "## A policy of your own, from an empty folder\n"


class Author(Terminal):
    """A shell in an empty folder. The page's second gateway stands in for the providers."""

    def port_of(self, command):
        return "8081" if "standin" in command else "8080"


def figures(line):
    """How long a run took depends on the machine; a simulation's figures on every detail of the simulator."""
    line = re.sub(r"\(\d+\.\d+ s\)|Simulated in \S+ s", "(N s)", line)
    return re.sub(r"\$?\d[\d.]*", "N", line) if re.match(r"(plain|ours) ", line) else line


@pytest.fixture
def author(tmp_path):
    made = Author(tmp_path, loosen=figures)
    (made.tree / "mine").mkdir()
    made.run("cd mine")
    yield made
    made.close()


def blocks():
    before, _, part = POLICIES.partition(START)
    assert before and part, "the chapter is gone"
    return fenced(part.split("\n## ")[0])


def test_every_block_of_the_path_is_done():
    """Goal: no block is passed over, and each step that the chapter promises is there."""
    found = blocks()
    assert all(b.what and b.what[0] in ("file", "run") for b in found)
    commands = " ".join(b.text for b in found if b.what[0] == "run")
    for command in "check", "test", "explain", "simulate", "serve":
        assert f"$ moongate {command}" in commands, command
    assert "kill -HUP" in commands


def test_walk(author):
    """Goal: somebody who does what the page says, and nothing else, sees what it shows."""
    for block in blocks():
        if block.what[0] == "file":
            author.write(f"mine/{block.what[1]}", block.text)
        else:
            author.run(block.text)
