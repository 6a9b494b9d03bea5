# SPDX-License-Identifier: MIT
"""
The simulator against reality: the same scenarios over real sockets and in virtual time must give the same
attempts, with the same outcomes, and clients must see the same.
"""
import subprocess
import time

import pytest
from support import wire
from support.gateway import BINARY, ROOT, lua
from support.replies import action
from support.same import SAME


def provider(lab, replies):
    if replies == [{"refuse": True}]:
        return lab.refusing()
    return lab.upstream(*[action(reply) for reply in replies])


def seen(answer, entry):
    """What is compared of one request, real side."""
    streamed = "event-stream" in (answer.header("content-type") or "")
    content, error, done = "", False, False
    if streamed:
        events = answer.events()
        content, done = wire.text_of(events), any(e.done for e in events)
        error = any(e.error for e in events)
    elif answer.status == 200:
        content = answer.text
    return {
        "status": answer.status, "content": content, "done": done, "error_event": error, "ended": entry["end"],
        "attempts": " ".join(f"{a['target']}={a['outcome']}:{a['status']}" for a in entry["attempts"]),
    }


def really(lab, scenario, settings):
    ups = {name: provider(lab, replies) for name, replies in scenario["providers"].items()}
    gw = lab.failover(ups, settings, config={"workers": 1})
    out = []
    for i in range(scenario.get("n", 1)):
        time.sleep(scenario.get("pause", 0) if i else 0)
        answer = gw.chat(stream=scenario.get("stream", False), model="gpt")
        out.append(seen(answer, gw.entry(answer)))
    return out


TEST = """
local sim = require "moongate.sim"

sim.test("the same as over real sockets", function()
  local expected = %s
  local world = sim.world { settings = %s, providers = %s }
  for i, wanted in ipairs(expected) do
    if i > 1 then world:advance(%g) end
    local r = world:request { stream = %s }
    local attempts = {}
    for n, a in ipairs(r.attempts) do attempts[n] = ("%%s=%%s:%%d"):format(a.target, a.outcome, a.status) end
    local got = { attempts = table.concat(attempts, " "), ended = r.ended, done = r.done, error_event = r.error_event,
      status = r.status, content = r.status == 200 and r.content or "" }
    sim.equal(got, wanted, "request " .. i)
  end
end)
"""


def simulated(folder, scenario, settings, expected):
    """Runs the scenario through `moongate test`; the report of what differs, or an empty text."""
    text = TEST % (lua(expected), lua(settings), lua(scenario["providers"]), scenario.get("pause", 0),
                   lua(scenario.get("stream", False)))
    path = folder / "same_test.lua"
    path.write_text(text)
    ran = subprocess.run([str(BINARY), "test", str(path)], capture_output=True, text=True, cwd=ROOT, timeout=120)
    return "" if ran.returncode == 0 and "\nok 1 " in ran.stdout else ran.stdout + ran.stderr


@pytest.mark.parametrize("name", SAME)
def test_same_in_the_simulator_and_over_sockets(lab, tmp_path, name):
    """Goal: attempts, their outcomes and what the client sees do not depend on where a scenario is played."""
    scenario = SAME[name]
    settings = {"targets": [f"{p}/{p}-model" for p in scenario["providers"]], **scenario.get("settings", {})}
    expected = really(lab, scenario, settings)
    assert simulated(tmp_path, scenario, settings, expected) == ""


def test_tests_belong_to_their_folder(tmp_path):
    """Goal: `moongate test` finds the policies beside the tests it is given, wherever it is called from, with and without -c."""
    (tmp_path / "home/policies").mkdir(parents=True)
    (tmp_path / "home/policies/own.lua").write_text(
        'local failover = require "moongate.failover"\nreturn { name = "own", version = 1, settings = failover.settings,'
        " handle = function(req, settings) return failover.run(req, settings) end }\n")
    (tmp_path / "home/policies/own_test.lua").write_text(
        'local sim = require "moongate.sim"\nsim.test("works", function()\n'
        '  local w = sim.world { policy = "own", settings = { targets = { "a" } }, providers = { a = { 200 } } }\n'
        "  sim.equal(w:request().status, 200)\nend)\n")
    for arguments in (["home/policies/own_test.lua"], ["home/policies"], ["home/policies/"], ["home"],
                      [str(tmp_path / "home/policies")]):
        ran = subprocess.run([str(BINARY), "test", *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=120)
        assert ran.returncode == 0 and "ok 1 - " in ran.stdout, (arguments, ran.stdout, ran.stderr)
    (tmp_path / "home/gateway.lua").write_text("return {}\n")
    for config in ("home/gateway.lua", str(tmp_path / "home/gateway.lua")):
        ran = subprocess.run([str(BINARY), "test", "-c", config], capture_output=True, text=True, cwd=tmp_path, timeout=120)
        assert ran.returncode == 0 and "ok 1 - " in ran.stdout, (config, ran.stdout, ran.stderr)
