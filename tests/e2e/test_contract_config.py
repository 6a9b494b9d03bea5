# SPDX-License-Identifier: MIT
"""The command line, env() and file(), and mistakes in gateway.lua with the nearest name."""
import os
import subprocess

import pytest
from support import actions
from support.gateway import BINARY

REST = ('providers = { p = { base_url = "http://127.0.0.1:1/v1" } },\n'
        'routes = { { name = "a", path = "/*", policy = "failover", settings = { targets = { "p" } } } } }')


def run(*args, cwd="/", env=None):
    return subprocess.run([str(BINARY), *args], capture_output=True, text=True, timeout=60, cwd=cwd, stdin=subprocess.DEVNULL,
                          env={"PATH": os.environ["PATH"], **(env or {})})


def check(folder, text, env=None):
    (folder / "gateway.lua").write_text(text)
    return run("check", "-c", str(folder / "gateway.lua"), env=env)


@pytest.mark.parametrize("args, status", [
    ((), 2), (("nope",), 2), (("serve", "--bogus"), 2), (("serve", "-c"), 2), (("serve", "extra", "x"), 2), (("version",), 0),
    (("check", "-c", "no-such-file.lua"), 1), (("serve", "-c", "no-such-file.lua"), 1), (("check",), 1),
], ids=lambda x: " ".join(x) or "none" if isinstance(x, tuple) else str(x))
def test_exit_status(tmp_path, args, status):
    """Goal: 2 for wrong usage, 1 for what went wrong, 0 for success; what is wrong is said on stderr."""
    got = run(*args, cwd=tmp_path)
    assert got.returncode == status, got
    assert bool(got.stderr) == bool(status)


@pytest.mark.parametrize("listen, env, status", [
    ('env("MG_NOT_SET")', {}, 1), ('env("MG_NOT_SET", "127.0.0.1:0")', {}, 0), ('env("MG_SET")', {"MG_SET": "127.0.0.1:0"}, 0),
    ('file("listen.txt")', {}, 0), ('file("no-such.txt")', {}, 1),
])
def test_env_and_file_in_a_check(tmp_path, listen, env, status):
    """Goal: env() with and without a default; file() beside gateway.lua, without its line end, wherever one stands."""
    (tmp_path / "listen.txt").write_text("127.0.0.1:0\n")
    assert check(tmp_path, f"return {{ listen = {listen}, {REST}", env).returncode == status


NAMES = {
    "listn": ('return { listn = "x", ', "listen"), "worker": ("return { worker = 2, ", "workers"),
    "acces": ('return { log = { acces = "stdout" }, ', "access"), "boddy": ("return { limits = { boddy = 1 }, ", "body"),
    "apikey": ("base_url", "api_key"), "requst_timout": ("base_url", "request_timeout"), "polcy": ("policy", "policy"),
    "trget": ("settings", "targets"), "supend": ("settings", "suspend"), "first_packet_timout": ("settings", "first_packet_timeout"),
    "whenexhausted": ("settings", "when_exhausted"),
}


@pytest.mark.parametrize("wrong", NAMES)
def test_nearest_name(tmp_path, wrong):
    """Goal: an unknown name is refused with the name that was meant, also where two letters are wrong in a short one."""
    where, meant = NAMES[wrong]
    text = "return { " + REST
    if where.startswith("return"):
        text = where + REST
    elif where == "base_url":
        text = text.replace("base_url", f'{wrong} = 3, base_url')
    elif where == "policy":
        text = text.replace("policy =", f"{wrong} =")
    else:
        text = text.replace("targets = {", f"{wrong} = 3, targets = {{")
    got = check(tmp_path, text)
    assert got.returncode == 1
    line = next(x for x in got.stderr.splitlines() if wrong in x)
    assert f'"{meant}"' in line or f"'{meant}'" in line or f" {meant}" in line.split(wrong, 1)[1], line
    assert "did you mean" in line


@pytest.mark.parametrize("key, value", [
    ("backoff", {"jitter": 1.5}), ("order", "bad"), ("trigger", ["nope"]), ("trigger", "nope"), ("when_exhausted", "x"), ("suspend", -1),
    ("max_attempts", 33), ("retries", 1.5), ("targets", []), ("targets", ["nope/x"]), ("targets", "p/x"), ("targets", [""]),
    ("targets", ["p/"]), ("targets", ["/x"]), ("breaker", {"failures": 0}), ("context_targets", ["zz"]), ("sandbox", {"targets": ["zz/x"]}),
    ("sandbox", {"targt": ["p/x"]}), ("targets", [{"target": "p/x", "wieght": 1}]), ("targets", [{"order": "round_robin", "targets": []}]),
], ids=str)
def test_settings_out_of_range(lab, key, value):
    """Goal: a setting that cannot be meant is refused by name and line, not bent into one that can."""
    gw = lab.failover({"p": lab.refusing()}, {key: value}, start=False)
    got = run("check", "-c", str(gw.folder / "gateway.lua"))
    assert got.returncode == 1 and "gateway.lua:" in got.stderr and key in got.stderr


def test_retries_cut_off_warn(lab):
    """Goal: max_attempts that leaves no room for the retries is a warning, not an error."""
    gw = lab.failover({"p": lab.refusing()}, {"targets": ["p/a"], "retries": 2, "max_attempts": 2}, start=False)
    got = run("check", "-c", str(gw.folder / "gateway.lua"))
    assert got.returncode == 0 and "warning" in got.stderr + got.stdout


def test_everything_at_once(lab):
    """Goal: every setting of the stock policy together is a valid configuration that serves."""
    settings = dict(
        enabled=True, targets=["p/a", {"target": "p/b", "weight": 2, "cost": 1, "retries": 1, "request_timeout": 3, "set": {"x": 1},
                                       "unset": ["y"], "headers": {"a": "b"}}, {"order": "weighted", "targets": ["p/c", "p"]}],
        sandbox={"targets": ["p/z"], "trigger": "any"}, trigger=["backend", 429, "5xx", "content_filtered"], request_timeout=30,
        first_packet_timeout=2.5, idle_timeout=3, deadline=100, max_attempts=9, retries=1, retry_on=["backend"], backoff={"base": 0.1},
        retry_after={"max": 3}, suspend=3, breaker={"ratio": 0.5, "requests": 5, "window": 30}, order="sticky", sticky={"header": "x"},
        slow_failure=3, replay=False, context_targets=["p/long"], retry_budget={"ratio": 0.2, "min": 10}, opt_out_header="x-no",
        when_suspended="try_anyway", when_exhausted="first_error")
    assert lab.failover({"p": lab.upstream(actions.ok())}, settings).chat().status == 200
