# SPDX-License-Identifier: MIT
"""libcurl is loaded by those who need it: a gateway that does not goes without, on machines that have none, too."""
import os
import subprocess
from pathlib import Path

import pytest
from support import actions
from support.gateway import BINARY

CONFIG = """return { listen = "127.0.0.1:0", providers = { p = { base_url = "http://127.0.0.1:1/v1"%s } },
  routes = { { name = "a", path = "/*", policy = "failover", settings = { targets = { "p/m" } } } } }"""


@pytest.fixture
def without(tmp_path):
    """The environment of a machine on which libcurl cannot be loaded."""
    folder = tmp_path / "lib"
    folder.mkdir()
    (folder / "libcurl.so.4").write_text("this is no library\n")
    return {"LD_LIBRARY_PATH": str(folder)}


def run(*args, env):
    return subprocess.run([str(BINARY), *args], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                          env={"PATH": os.environ["PATH"], **env})


@pytest.mark.parametrize("needs", ['transport = "libcurl"', 'proxy = "http://127.0.0.1:2"'])
def test_missing_where_it_is_needed(tmp_path, without, needs):
    """Goal: a provider that can only be reached through libcurl is a mistake of the load, at its line."""
    file = tmp_path / "gateway.lua"
    file.write_text(CONFIG % (", " + needs))
    got = run("check", "-c", str(file), env=without)
    assert got.returncode == 1
    assert "gateway.lua:1:" in got.stderr and "providers.p: this provider can only be reached through libcurl" in got.stderr, got.stderr
    assert run("check", "-c", str(file), env={}).returncode == 0


def test_missing_where_it_is_not(tmp_path, without):
    """Goal: without libcurl all else goes on, and `version` says that there is none."""
    file = tmp_path / "gateway.lua"
    file.write_text(CONFIG % "")
    assert run("check", "-c", str(file), env=without).returncode == 0
    assert "libcurl: none" in run("version", env=without).stdout
    assert "libcurl/" in run("version", env={}).stdout


@pytest.mark.parametrize("transport", ["auto", "libcurl"])
def test_loaded_when_needed(lab, transport):
    """Goal: who serves without libcurl does not have it in memory."""
    gateway = lab.failover({"main": lab.upstream(actions.ok())}, options={"transport": transport})
    assert gateway.chat().status == 200
    maps = Path(f"/proc/{gateway.process.pid}/maps").read_text()
    assert ("libcurl.so" in maps) == (transport == "libcurl")
