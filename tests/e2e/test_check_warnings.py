# SPDX-License-Identifier: MIT
"""What `moongate check` warns of: settings that cannot work, and targets that are suspended for days. Nothing is refused."""
import json
import subprocess
import time

import pytest
from support.gateway import BINARY

CONFIG = """return {
  listen = "127.0.0.1:0",
  state_dir = "state",
  providers = {
    p = { dialect = "openai", base_url = "http://127.0.0.1:9/v1", quota_group = "org" },
    q = { dialect = "openai", base_url = "http://127.0.0.1:9/v1" },
  },
  routes = {
    { name = "chat", path = "/v1/*", policy = "failover",
      settings = {
        targets = { "p/m", { order = "listed", targets = { "q/m" } } },
        -- SETTING
      } },
  },
}
"""
SETTING_LINE = 12


def check(folder, setting=""):
    (folder / "gateway.lua").write_text(CONFIG.replace("-- SETTING", setting))
    run = subprocess.run([BINARY, "check"], cwd=folder, capture_output=True, text=True, timeout=60)
    warnings = run.stderr.count(" warning: ")
    told = f"no mistakes, {warnings} warning{'s' * (warnings > 1)}" if warnings else "nothing wrong"
    assert (run.returncode, run.stdout) == (0, f"gateway.lua: {told}\n"), run.stderr
    return run.stderr


@pytest.mark.parametrize("setting, message", [
    ("trigger = { '1xx', 'backend' },", 'routes[1].settings.trigger[1]: "1xx" never happens: no answer ends with such a status'),
    ("trigger = {},", "routes[1].settings.trigger: is empty: no failure moves on to the next target"),
    ("request_timeout = 300,",
     "routes[1].settings.request_timeout: 300 s is never reached: the deadline ends the request after 120 s"),
    ("suspend = 864000,",
     "routes[1].settings.suspend: 864000 s: a target that failed stays away for 10 days; only `moongate resume` ends it sooner"),
    ("breaker = { recovery = 1e9 },",
     "routes[1].settings.breaker.recovery: 1e+09 s: a target that failed stays away for 11574 days; only `moongate resume` ends it"
     " sooner"),
    ("sticky = { ttl = 60 },", 'routes[1].settings.sticky: has no effect: the order is "listed"'),
    ("backoff = { base = 2 },", "routes[1].settings.backoff: has no effect: no target has retries"),
])
def test_settings(setting, message, tmp_path):
    """Goal: a setting that cannot work is told with its line, and accepted."""
    assert check(tmp_path, setting) == f"gateway.lua:{SETTING_LINE}: warning: {message}\n"


def test_sound_settings(tmp_path):
    """Goal: no warning where there is nothing to warn of."""
    assert check(tmp_path, "retries = 1, backoff = { base = 2 }, order = 'sticky', sticky = { ttl = 60 },") == ""


def write_state(folder, *suspended):
    now = time.time()
    (folder / "state").mkdir()
    (folder / "state/suspensions.json").write_text(json.dumps({"version": 1, "suspended": [
        {"name": name, "group": group, "until_ms": (now + days * 86400) * 1000, "reason": "rate_limited"}
        for name, group, days in suspended]}))
    return (folder / "state/suspensions.json").read_bytes()


def test_suspended_for_days(tmp_path):
    """Goal: a target that a route names and that is out for more than a day is told, by itself or by its group, in a group
    of targets too; shorter ones and what no route names are not. The file stays as it is."""
    before = write_state(tmp_path, ("q/m", False, 40), ("org", True, 2), ("q/other", False, 40), ("p/m", False, 0.5))
    told = check(tmp_path).splitlines()
    assert [line.split(": ", 3)[3] for line in told] == [
        'target "p/m" is suspended for another 48 hours; `moongate resume p/m` ends that',
        'target "q/m" is suspended for another 40 days; `moongate resume q/m` ends that']
    assert all(line.startswith('gateway.lua:9: warning: route "chat"') for line in told)
    assert (tmp_path / "state/suspensions.json").read_bytes() == before


def test_suspended_for_hours(tmp_path):
    """Goal: an ordinary suspension is no matter for a warning."""
    write_state(tmp_path, ("p/m", False, 0.9), ("q/m", False, 0.01))
    assert check(tmp_path) == ""


def test_damaged_state_file(tmp_path):
    """Goal: a check tells of a state file it cannot read, and leaves it where it is."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state/suspensions.json").write_text("{")
    assert "suspensions.json: damaged" in check(tmp_path)
    assert [p.name for p in (tmp_path / "state").iterdir()] == ["suspensions.json"]


def test_no_state_dir_yet(tmp_path):
    """Goal: before the first start there is nothing to read, and nothing is made."""
    assert check(tmp_path) == ""
    assert not (tmp_path / "state").exists()
