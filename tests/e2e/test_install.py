# SPDX-License-Identifier: MIT
"""What `make install` leaves behind: a program, a library with the public symbols only, and a C program built on them."""
import json
import os
import re
import shutil
import signal
import subprocess
import urllib.request

import pytest
from support.gateway import PLAIN, ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Installed from the release build, as a user would; of what is built already PREFIX compiles two files again.

    Without sanitizers: what is looked at is what users get, and a sanitized library asks any C program that is linked with it for the
    sanitizers' own runtime. What it does all other tests see sanitized.
    """
    prefix, build = tmp_path_factory.mktemp("prefix"), tmp_path_factory.mktemp("build")
    if (PLAIN.parent / "obj").is_dir():
        shutil.copytree(PLAIN.parent / "obj", build / "obj")
    subprocess.run(["make", "-C", ROOT, "install", f"PREFIX={prefix}", f"BUILD={build}"], check=True,
                   capture_output=True, timeout=600)
    return prefix


def test_library_exports_public_names_only(installed):
    # Goal: nothing but moongate_* can collide with the embedding program's names.
    names = subprocess.run(["nm", "-D", "--defined-only", installed / "lib/libmoongate.so"], check=True,
                           capture_output=True, text=True).stdout
    exported = [line.split()[-1] for line in names.splitlines() if line]
    assert exported
    assert [name for name in exported if not name.startswith("moongate_")] == []


def test_one_installed_header(installed):
    # Goal: the public header is the only one, and it stands on its own.
    assert [p.name for p in (installed / "include").iterdir()] == ["moongate.h"]
    subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c",
                    installed / "include/moongate.h"], check=True)


def test_program_finds_its_library(installed, tmp_path):
    # Goal: the installed program serves the stock policy from any folder.
    (tmp_path / "gateway.lua").write_text(
        'return { providers = { p = { dialect = "openai", base_url = "http://127.0.0.1:9/v1" } },\n'
        '  routes = { { name = "r", path = "/v1/*", policy = "failover", settings = { targets = { "p" } } } } }\n')
    done = subprocess.run([installed / "bin/moongate", "check"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_installed_tools_find_theirs(installed, tmp_path):
    # Goal: what `test`, `explain` and `simulate` need is installed, and so are the stock policies, their tests and the admin API's description.
    def run(*words):
        done = subprocess.run([installed / "bin/moongate", *words], cwd=tmp_path, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout
    (tmp_path / "gateway.lua").write_text(
        'return { providers = { p = { dialect = "openai", base_url = "http://127.0.0.1:9/v1" } },\n'
        '  routes = { { name = "r", path = "/v1/*", policy = "failover", settings = { targets = { "p" } } } } }\n')
    (tmp_path / "short.lua").write_text(
        'return { duration = 60, rate = 1, providers = { p = {} },\n'
        '  policies = { a = { policy = "failover", settings = { targets = { "p" } } } } }\n')
    share = installed / "share/moongate"
    assert "p/m: ok, status 200" in run("explain", "--model", "m")
    assert "100.000 %" in run("simulate", "short.lua")
    assert " 0 failed" in run("test", share / "policies/failover_test.lua")
    assert json.loads((share / "openapi.json").read_text())["openapi"]
    for folder in "policies", "lua/moongate", "lua/meta":
        assert [p.name for p in (ROOT / folder).glob("*.lua") if not (share / folder / p.name).exists()] == []


def test_embedding_example(installed, tmp_path):
    # Goal: examples/embed builds from the pkg-config file, runs a gateway in its own loop, and its C function is called.
    folder = tmp_path / "embed"
    shutil.copytree(ROOT / "examples/embed", folder)
    env = dict(os.environ, PKG_CONFIG_PATH=str(installed / "lib/pkgconfig"), LISTEN="127.0.0.1:0",
               LD_LIBRARY_PATH=str(installed / "lib"))
    subprocess.run("cc -Wall -Wextra -Werror embed.c $(pkg-config --cflags --libs moongate libevent) -o embed",
                   shell=True, cwd=folder, env=env, check=True)
    program = subprocess.Popen(["./embed"], cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
    try:
        base = re.search(r"http://\S+/hello/", program.stdout.readline()).group(0)
        with urllib.request.urlopen(base + "9") as answer:
            assert answer.read() == b'{"greeting":"Good morning"}'
        with urllib.request.urlopen(base + "15") as answer:
            assert answer.read() == b'{"greeting":"Good afternoon"}'
    finally:
        program.send_signal(signal.SIGTERM)
        assert program.wait(30) == 0
