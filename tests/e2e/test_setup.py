# SPDX-License-Identifier: MIT
"""tests/support/setup.sh and venv.sh, against a pretend apt: what they install, and when they stop."""
import os
import shutil
import subprocess

import pytest
from support.gateway import ROOT

SETUP = ROOT / "tests/support/setup.sh"
VENV = ROOT / "tests/support/venv.sh"


@pytest.fixture
def machine(tmp_path):
    """machine(installed=…, tools=…): runs setup.sh where only these packages are installed; returns the run and apt's calls."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "env", "id", "sort", "tr", "cat", "mktemp", "rm"):
        (tools / tool).symlink_to(shutil.which(tool))

    def script(name, text):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)

    def run(*groups, installed=(), debian=True, node=None, uid=0, sudo=True):
        calls = tmp_path / "calls"
        if debian:
            there = " ".join(installed)
            script("dpkg-query", f'case " {there} " in *" $4 "*) printf "install ok installed" ;; *) exit 1 ;; esac')
            script("apt-get", f'echo "apt-get $*" >>"{calls}"')
        if node:
            script("node", f"echo {node}")
            script("npm", "exit 0")
        (tools / "id").unlink()
        script("id", f"echo {uid}")
        if sudo:
            script("sudo", f'echo "sudo" >>"{calls}"; exec "$@"')
        done = subprocess.run(["/bin/sh", str(SETUP), *groups], env={"PATH": str(tools), "TMPDIR": str(tmp_path)},
                              capture_output=True, text=True, timeout=60)
        return done, calls.read_text().splitlines() if calls.exists() else []
    return run


BUILD = ("gcc libc6-dev make pkg-config liblua5.4-dev libcurl4-openssl-dev libevent-dev libcjson-dev libssl-dev "
         "ca-certificates curl").split()


def test_nothing_missing_is_silent(machine):
    """Goal: when everything is there apt is not called and nothing is said."""
    run, calls = machine("build", installed=BUILD)
    assert (run.returncode, run.stdout, run.stderr, calls) == (0, "", "", [])


def test_only_what_is_missing_is_installed(machine):
    """Goal: one call of apt-get with the missing packages, as root without sudo."""
    run, calls = machine("build", installed=[p for p in BUILD if p not in ("libevent-dev", "curl")])
    assert run.returncode == 0 and len(calls) == 1, run.stderr
    assert calls[0].split()[1] == "install" and set(calls[0].split()[-2:]) == {"curl", "libevent-dev"}


def test_groups_of_packages(machine):
    """Goal: test adds what the tests need; several groups are one call."""
    run, calls = machine("test", "bench", installed=BUILD)
    assert run.returncode == 0 and len(calls) == 1
    assert {"lua5.4", "libcmocka-dev", "python3", "python3-venv", "haproxy"} <= set(calls[0].split())


@pytest.mark.parametrize("node, wanted", [(20, False), (16, True), (None, True)])
def test_node_of_any_origin_counts(machine, node, wanted):
    """Goal: node and npm are installed only when there is none that is new enough, wherever it came from."""
    run, calls = machine("clients", node=node, installed=BUILD)
    assert run.returncode == 0
    assert bool(calls) == wanted and (not wanted or {"nodejs", "npm"} <= set(calls[0].split()))


def test_sudo_when_not_root(machine):
    """Goal: another user's apt runs through sudo; without sudo the packages are named."""
    run, calls = machine("build", uid=1000)
    assert run.returncode == 0 and calls[0] == "sudo"


def test_no_sudo(machine):
    """Goal: neither root nor sudo: it stops and names the packages."""
    run, calls = machine("build", uid=1000, sudo=False)
    assert run.returncode == 1 and calls == [] and "libevent-dev" in run.stderr and "as root" in run.stderr


def test_other_systems(machine):
    """Goal: without dpkg and apt it names the packages and stops."""
    run, calls = machine("build", debian=False)
    assert run.returncode == 1 and calls == []
    assert "no Debian" in run.stderr and all(package in run.stderr for package in BUILD)


def test_unknown_group(machine):
    """Goal: a wrong group is named."""
    run, _ = machine("everything")
    assert run.returncode == 2 and "everything" in run.stderr


def test_venv_is_made_once(tmp_path):
    """Goal: venv.sh makes build/venv from the file, leaves it alone while the file is the same, and makes it anew after."""
    support = tmp_path / "tests/support"
    support.mkdir(parents=True)
    shutil.copy(VENV, support)
    (tmp_path / "tests/requirements.txt").write_text("# nothing yet\n")
    mark = tmp_path / "build/venv/mark"

    def run():
        return subprocess.run([str(support / "venv.sh")], env=dict(os.environ), capture_output=True, text=True, timeout=120)

    first = run()
    assert first.returncode == 0 and "Making" in first.stdout, first.stderr
    mark.write_text("")
    assert (run().stdout, mark.exists()) == ("", True)
    (tmp_path / "tests/requirements.txt").write_text("# something else\n")
    assert "Making" in run().stdout and not mark.exists()
