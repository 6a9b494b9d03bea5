# SPDX-License-Identifier: MIT
"""The commands that simulate: `moongate test`, `simulate` and `explain`, as people use them."""
import json
import re
import signal
import subprocess

import pytest
from support import actions
from support.folders import EXAMPLES
from support.gateway import ADMIN_TOKEN, BINARY, REPORTS
from support.waiting import wait_until


def run(*words, folder=None, status=0):
    """Runs a command to its end; its output."""
    ran = subprocess.run([str(BINARY), *map(str, words)], cwd=folder, capture_output=True, text=True, timeout=300)
    assert not REPORTS.search(ran.stderr), ran.stderr
    assert ran.returncode == status, f"status {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran


GOOD = """
local sim = require "moongate.sim"
sim.test("fails over on 500", function()
  local world = sim.world {
    settings = { targets = { "a/m", "b/m" } },
    providers = { a = { 500 }, b = { 200 } },
  }
  local r = world:request { model = "gpt", stream = true }
  sim.equal(r.status, 200)
  sim.equal(r.trail, "a/m=server_error b/m=ok")
end)
sim.test("is fine", function() sim.ok(true) end)
"""

BAD = """
local sim = require "moongate.sim"
sim.test("passes", function() end)
sim.test("fails", function()
  sim.equal(1 + 1, 3, "the sum")
end)
sim.test("raises", function() error("on purpose") end)
sim.test("passes too", function() end)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "policies").mkdir()
    return tmp_path


def test_tests_beside_policies(folder):
    """Goal: without arguments the tests of ./policies are run, no configuration needed, and TAP is printed."""
    (folder / "policies/good_test.lua").write_text(GOOD)
    lines = run("test", folder=folder).stdout.splitlines()
    assert lines[:4] == ["TAP version 13", "1..2", "ok 1 - policies/good_test.lua: fails over on 500",
                         "ok 2 - policies/good_test.lua: is fine"]
    assert lines[4].startswith("# 2 passed, 0 failed")


def test_failures_say_where_and_what(folder):
    """Goal: a failed assertion is told with file, line and both values; it stops neither its file nor others."""
    (folder / "policies/bad_test.lua").write_text(BAD)
    (folder / "policies/good_test.lua").write_text(GOOD)
    out = run("test", folder=folder, status=1).stdout
    assert re.findall(r"^(ok|not ok) (\d)", out, re.M) == [
        ("ok", "1"), ("not ok", "2"), ("not ok", "3"), ("ok", "4"), ("ok", "5"), ("ok", "6")]
    assert '  message: "the sum is not what was expected"\n  at: policies/bad_test.lua:5\n  found: "2"\n  expected: "3"' in out
    assert '  message: "on purpose"\n  at: policies/bad_test.lua:7' in out


@pytest.mark.parametrize("text,part", [
    ("local x = = 1", "unexpected symbol"), ("error('while loading')", "while loading"),
    ("return 1", "there is no sim.test in this file"), ("local t = io.open", "io")])
def test_files_that_cannot_be_read_fail(folder, text, part):
    """Goal: a broken test file is a failed test, and the others are run."""
    (folder / "policies/a_test.lua").write_text(text)
    (folder / "policies/b_test.lua").write_text(GOOD)
    out = run("test", folder=folder, status=1).stdout
    assert "not ok 1 - policies/a_test.lua: is read" in out and part in out
    assert "# 2 passed, 1 failed" in out


def test_a_test_that_loops_is_stopped_by_nobody_else_but_its_world_is(folder):
    """Goal: a policy that never ends is killed as in production, and the test sees the default plan's answer."""
    (folder / "policies/loop.lua").write_text(
        'return { name = "loop", version = 1, settings = { targets = { type = "targets" } },\n'
        '  handle = function() while true do end end }')
    (folder / "policies/loop_test.lua").write_text("""
local sim = require "moongate.sim"
sim.test("loops", function()
  local world = sim.world { policy = "loop", settings = { targets = { "a/m" } }, providers = { a = { 200 } } }
  sim.equal(world:request({}).trail, "a/m=ok")
  sim.contains(table.concat(world:log(), " "), "loop")
end)
""")
    run("test", folder=folder)


def test_filter_and_paths(folder):
    """Goal: --filter takes part of "file: name"; PATH is a file or a folder."""
    other = folder / "more/deep"
    other.mkdir(parents=True)
    (other / "good_test.lua").write_text(GOOD)
    (folder / "more/bad_test.lua").write_text(BAD)
    assert "1..6" in run("test", "more", folder=folder, status=1).stdout
    assert "1..2" in run("test", "more/deep/good_test.lua", folder=folder).stdout
    assert "1..1" in run("test", "--filter", "fails over", "more", folder=folder).stdout
    assert "1..0" in run("test", "--filter", "nothing at all", "more", folder=folder, status=1).stdout


def test_wrong_usage(folder):
    """Goal: mistakes on the command line are status 2 or 1, with a word on what is wrong."""
    assert "--help" in run("test", "--nonsense", folder=folder, status=2).stderr
    assert "there is no nowhere" in run("test", "nowhere", folder=folder, status=1).stderr
    assert "no *_test.lua" in run("test", folder=folder, status=1).stderr
    assert "one scenario file" in run("simulate", folder=folder, status=2).stderr
    assert "was not expected" in run("explain", "what", folder=folder, status=2).stderr
    for command in ("test", "simulate", "explain"):
        assert run(command, "--help").stdout.startswith(f"Usage: moongate {command}")


def test_watch_runs_again(folder):
    """Goal: --watch runs once more when a test or a policy changes."""
    path = folder / "policies/good_test.lua"
    path.write_text(GOOD)
    with open(folder / "out", "w") as out:
        process = subprocess.Popen([str(BINARY), "test", "--watch"], cwd=folder, stdout=out, stderr=out)
    try:
        text = (folder / "out").read_text
        wait_until(lambda: text().count("# waiting for a change") == 1, "the first run")
        path.write_text(GOOD.replace("is fine", "is still fine"))
        wait_until(lambda: "is still fine" in text(), "the second run")
        (folder / "policies/more_test.lua").write_text(BAD)
        wait_until(lambda: "not ok" in text(), "the run with the new file")
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


# simulate

def small_day(tmp_path):
    """The example's day with an hour as long as half a minute."""
    text = (EXAMPLES / "simulate/day.lua").read_text()
    assert "local HOUR = 3600" in text
    path = tmp_path / "day.lua"
    path.write_text(text.replace("local HOUR = 3600", "local HOUR = 30"))
    return path


def test_simulate_example(tmp_path):
    """Goal: the example runs; the table has a row for each policy and tells them apart as its README says."""
    day = small_day(tmp_path)
    text = run("simulate", day).stdout
    rows = {line.split()[0]: line for line in text.splitlines()[3:8]}
    readme = (EXAMPLES / "simulate/README.md").read_text()
    assert set(rows) == {"alone", "careful", "fallback", "retries", "suspending"}
    for name in rows:
        assert re.search(rf"^    {name} +\d+", readme, re.M), name
    heading = text.splitlines()[2].split()
    assert heading == next(line for line in readme.splitlines() if line.startswith("    policy ")).split()
    assert "\033" not in text


def test_simulate_same_seed_same_figures(tmp_path):
    """Goal: what is simulated depends on the seed alone."""
    day = small_day(tmp_path)
    figures = {p["name"]: p for p in json.loads(run("simulate", day, "--json").stdout)["policies"]}
    again = json.loads(run("simulate", day, "--policy", "careful", "--json").stdout)["policies"]
    assert again == [figures["careful"]] and again[0]["requests"] > 500
    assert figures["alone"]["success"] < 0.97 < figures["careful"]["success"]
    assert figures["alone"]["attempts"] == 1 < figures["retries"]["attempts"]
    assert all(0 < p["wasted"] < p["cost"] for p in figures.values())
    day.write_text(day.read_text().replace("seed = 42", "seed = 43"))
    assert json.loads(run("simulate", day, "--policy", "careful", "--json").stdout)["policies"] != again


def test_simulate_says_what_is_wrong(tmp_path):
    """Goal: a slip in a scenario is told with its place."""
    day = small_day(tmp_path)
    assert 'no policy "nope"' not in run("simulate", day, "--policy", "nope", status=1).stderr  # a file of policies/
    good = day.read_text()
    day.write_text(good.replace("error_rate = 0.004", "eror_rate = 0.004"))
    assert 'providers.main: there is no field "eror_rate"' in run("simulate", day, status=1).stderr
    day.write_text(good.replace("rate = rate", "rate = -1"))
    assert "rate: expected a number above 0" in run("simulate", day, status=1).stderr


# explain

CONFIG = """return {
  providers = { a = { base_url = "https://a.test/v1", api_key = "sk-secret-a" }, b = { base_url = "https://b.test/v1" } },
  keys = { { name = "app", secret = "app-secret" } },
  routes = {
    { name = "other", path = "/other/*", policy = "failover", settings = { targets = { "b" } } },
    { name = "chat", path = "/v1/chat/completions", policy = "failover", settings = {
      targets = { "a/gpt-4o", "b/gpt-4o-mini" }, suspend = 30, retries = 1, backoff = { base = 0.5, jitter = "none" } } },
  },
}
"""


@pytest.fixture
def config(folder):
    path = folder / "gateway.lua"
    path.write_text(CONFIG)
    return path


def test_explain_steps(config):
    """Goal: each step of the policy is told with its time and its reason, down to the answer."""
    out = run("explain", "-c", config, "--route", "chat", "--key", "app", "--outcome", "a=429/99@0.12").stdout
    steps = [line.split("  ", 1)[1].strip() for line in out.splitlines() if re.match(r" +\d+\.\d{3}s  ", line)]
    assert steps == [s.strip() for s in steps]
    text = "\n".join(line.strip() for line in out.splitlines())
    wanted = ["0.000s  order (listed): a/gpt-4o, b/gpt-4o-mini", "0.000s  attempt 1 on a/gpt-4o",
              "0.120s  a/gpt-4o: rate_limited, status 429, after 0.120 s",
              "0.120s  no retry: the provider's hint of 99 s is beyond retry_after.max = 60 s",
              '0.120s  rate_limited 429: trigger = "errors" moves on',
              "0.120s  a/gpt-4o is suspended for 99 s (the provider's hint)", "0.120s  attempt 2 on b/gpt-4o-mini",
              "0.120s  b/gpt-4o-mini: ok, status 200, after 0.000 s", "0.120s  answer: 200 from b/gpt-4o-mini"]
    places = [text.index(line) for line in wanted]
    assert places == sorted(places)
    assert "secret" not in out


def test_explain_json(config):
    """Goal: the same for programs."""
    got = json.loads(run("explain", "-c", config, "--route", "chat", "--key", "app", "--stream", "--json",
                         "--outcome", "a=500,ok").stdout)
    assert got["route"] == "chat" and got["status"] == 200 and got["trail"] == "a/gpt-4o=server_error a/gpt-4o=ok"
    assert got["took"] == 0.5 and got["request"] == {"model": "gpt-4o", "path": "/v1/chat/completions", "stream": True}
    assert any(step["text"].startswith("retry 1 of 1") and step["at"] == 0 for step in got["steps"])


OUTCOMES = ("connect_error tls_error dns_error stale_connection timeout_connect timeout_first_byte timeout_first_token timeout_idle"
            " timeout_total overloaded server_error error_event empty_response invalid_response stream_broken limit_exceeded"
            " rate_limited quota_exhausted content_filtered credential_error model_unavailable unsupported context_too_long too_large"
            " client_error").split()


@pytest.mark.parametrize("name", OUTCOMES)
def test_explain_outcome_by_name(config, name):
    """Goal: every outcome that a provider can cause can be given by the name it has in trails and triggers."""
    got = json.loads(run("explain", "-c", config, "--route", "chat", "--key", "app", "--stream", "--json",
                         "--outcome", f"a={name}@0.2", "--outcome", f"b={name}@0.2").stdout)
    assert got["trail"].startswith(f"a/gpt-4o={name}"), got


def test_explain_mistakes(config):
    """Goal: what cannot be asked is told, with what could have been meant."""
    assert 'no route "chatt"; there are: other, chat' in run("explain", "-c", config, "--route", "chatt", status=1).stderr
    assert 'no provider "c"' in run("explain", "-c", config, "--outcome", "c=500", status=1).stderr
    assert "expected a status, an outcome" in run("explain", "-c", config, "--outcome", "a=fivehundred", status=1).stderr
    assert 'no key "nobody"' in run("explain", "-c", config, "--key", "nobody", status=1).stderr
    assert "--key NAME" in run("explain", "-c", config, "--path", "/v1/chat/completions").stdout
    config.write_text(CONFIG.replace('"a/gpt-4o"', '"z/gpt-4o"'))
    assert "gateway.lua" in run("explain", "-c", config, status=1).stderr


def test_explain_live(lab, config):
    """Goal: with --live what a running gateway has suspended, opened and found down is what the request meets."""
    a, b = lab.upstream(actions.fail(500)), lab.upstream(actions.ok())
    gw = lab.failover({"a": a, "b": b}, {"targets": ["a/gpt-4o", "b/gpt-4o-mini"], "suspend": 600,
                                         "breaker": {"failures": 1, "recovery": 600}})
    assert gw.chat().status == 200
    words = ["explain", "-c", gw.folder / "gateway.lua", "--admin", f"http://{gw.admin}", "--token-file"]
    token = gw.folder / "token"
    token.write_text(ADMIN_TOKEN)
    out = run(*words, token).stdout
    assert "state of the running gateway: 1 target not well" in out
    assert re.search(r"skip a/gpt-4o: suspended for another \d+ s \(server_error\)", out)
    assert "answer: 200 from b/gpt-4o-mini" in out
    assert ADMIN_TOKEN not in out
    gw.stop()
    assert "reach" in run(*words, token, status=3).stderr
