# SPDX-License-Identifier: MIT
"""SIGHUP: a reload is a transaction. A good one serves the next request, a broken one changes nothing."""
import signal
import threading

import pytest
from support import actions, wire
from support.client import chat_body
from support.waiting import wait_until

POLICY = """return {
  name = "own", version = 1, settings = {},
  handle = function(req, settings)
    return req:respond { json = { version = "%s" } }
  end,
}
"""


@pytest.fixture
def gw(lab):
    """A gateway whose policy answers with its version, "one" to begin with."""
    gateway = lab.gateway({"providers": {"p": {"dialect": "openai", "base_url": "http://127.0.0.1:9/v1"}},
                           "routes": [{"name": "r", "path": "/v1/*", "policy": "own"}]}, policies={"own": POLICY % "one"})
    return gateway.start()


def version(gw):
    return gw.chat().json()["version"]


def generation(gw):
    """The generation that serves a request now."""
    return gw.entry(gw.chat())["generation"]


def refused_reload(gw, pattern):
    after = len(gw.stderr)
    gw.signal(signal.SIGHUP)
    return gw.wait_log(pattern, after=after)


def test_good_reload(gw):
    """Goal: an edited policy serves the requests after the reload, under a higher generation number."""
    assert version(gw) == "one"
    before = generation(gw)
    gw.write("policies/own.lua", POLICY % "two")
    assert version(gw) == "one", "an edit without a reload must change nothing"
    gw.reload()
    wait_until(lambda: version(gw) == "two", "the new policy")
    assert [version(gw) for _ in range(8)] == ["two"] * 8, "every worker has to have it"
    assert generation(gw) > before


def test_unchanged_is_no_reload(gw):
    """Goal: a reload of unchanged files is a no-op."""
    before = generation(gw)
    after = len(gw.stderr)
    gw.signal(signal.SIGHUP)
    gw.wait_log("nothing changed", after=after)
    assert generation(gw) == before


BROKEN = {
    "syntax": ("policies/own.lua", "return {\n  handle = = 1\n}\n", r"own\.lua:2"),
    "raises": ("policies/own.lua", "local x\n\nerror('on load')\n", r"own\.lua:3.*on load"),
    "no-handle": ("policies/own.lua", "return { name = 'own', version = 2 }\n", r"own\.lua.*handle"),
    "endless": ("policies/own.lua", "while true do end\n", r"own\.lua"),
    "config-syntax": ("gateway.lua", "return {\n\n  listen = = 1\n}\n", r"gateway\.lua:3"),
    "config-key": ("gateway.lua", 'return {\n  lisen = "x",\n}\n', r"gateway\.lua:2.*lisen"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_reload_changes_nothing(gw, case):
    """Goal: the last good generation keeps serving; the log says why, with file and line; the repair works."""
    name, text, said = BROKEN[case]
    good = (gw.folder / name).read_text()
    before = generation(gw)
    gw.write(name, text)
    refused_reload(gw, said)
    assert [version(gw) for _ in range(4)] == ["one"] * 4 and generation(gw) == before
    gw.write(name, good.replace('"one"', '"three"'))
    after = len(gw.stderr)
    gw.signal(signal.SIGHUP)
    if name == "gateway.lua":
        gw.wait_log("nothing changed", after=after)
        assert version(gw) == "one"
    else:
        wait_until(lambda: version(gw) == "three", "the repaired policy")


def test_broken_reload_reports_everything(gw):
    """Goal: mistakes in two files are all reported by one reload."""
    gw.write("policies/own.lua", "return {\n  handle = = 1\n}\n")
    text = (gw.folder / "gateway.lua").read_text()
    gw.write("gateway.lua", text.replace('["name"]', '["nam"]').replace('["workers"]', '["worker"]'))
    refused_reload(gw, "own.lua:2")
    gw.wait_log(r"\bworker\b")
    gw.wait_log(r"\bnam\b")
    assert version(gw) == "one"


def test_in_flight_finishes_on_its_generation(lab):
    """Goal: a request that began before the reload ends under the policy it began with."""
    gate = threading.Event()
    up = lab.upstream(actions.fail(500, gate=gate), actions.ok())
    text = """return {
  name = "own", version = 1, settings = {},
  handle = function(req)
    local a = req:send("p/m")
    return req:respond { json = { version = "%s", status = a.status } }
  end,
}
"""
    gw = lab.gateway({"providers": {"p": {"dialect": "openai", "base_url": up.base_url}},
                      "routes": [{"name": "r", "path": "/v1/*", "policy": "own"}]}, policies={"own": text % "one"}).start()
    with gw.open_chat(stream=False) as old:
        wait_until(lambda: up.count == 1)
        gw.write("policies/own.lua", text % "two")
        gw.reload()
        wait_until(lambda: version(gw) == "two")
        gate.set()
        answer = old.read()
        assert answer.json() == {"version": "one", "status": 500}
    assert gw.entry(answer)["generation"] < generation(gw)


def test_streams_survive_reloads(lab):
    """Goal: a stream that has committed goes on, whole, through several reloads, under the generation of its start."""
    gate = threading.Event()
    up = lab.upstream(actions.stream(wire.delta("one "), gate, wire.delta("two"), wire.finish(), wire.DONE), actions.ok())
    gw = lab.failover({"p": up})
    config = (gw.folder / "gateway.lua").read_text()
    with gw.open_chat() as c:
        answer = c.start()
        first = answer.next_event()
        for n in range(3):
            gw.write("gateway.lua", config + f"-- edit {n}\n")
            gw.reload()
            assert gw.chat().status == 200
        gate.set()
        rest = answer.events()
    assert wire.text_of([first, *rest]) == "one two" and answer.clean


def test_reloads_under_load_lose_nothing(lab):
    """Goal: no request fails over twenty reloads under traffic, and each runs under one version of the policy."""
    text = """local moongate = require "moongate"
local first = "%s"
return {
  name = "own", version = 1, settings = {},
  handle = function(req)
    local a = req:send("p/m")
    return req:respond { status = a.status, json = { first = first, second = "%s" } }
  end,
}
"""
    up = lab.upstream(actions.ok())
    gw = lab.gateway({"providers": {"p": {"dialect": "openai", "base_url": up.base_url}},
                      "routes": [{"name": "r", "path": "/v1/*", "policy": "own"}]},
                     policies={"own": text % ("0", "0")}).start()
    stop, problems, seen = threading.Event(), [], set()

    def traffic():
        with gw.client() as c:
            while not stop.is_set():
                answer = c.request("POST", "/v1/chat/completions", body=chat_body()).read()
                got = answer.json()
                if answer.status != 200 or got["first"] != got["second"]:
                    problems.append((answer.status, got))
                seen.add(got["first"])
    threads = [threading.Thread(target=traffic) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        for n in range(1, 21):
            gw.write("policies/own.lua", text % (n, n))
            gw.reload()
            wait_until(lambda: str(n) in seen or problems, f"version {n}")
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not problems and len(seen) == 21


def test_state_survives_a_reload(lab):
    """Goal: suspensions and breakers are kept."""
    up = lab.upstream(actions.fail(500), actions.ok())
    gw = lab.failover({"p": up}, {"breaker": {"failures": 1, "recovery": 600}})
    assert gw.chat().status == 500 and gw.chat().status == 503
    gw.write("gateway.lua", (gw.folder / "gateway.lua").read_text() + "-- edit\n")
    gw.reload()
    assert gw.chat().status == 503 and up.count == 1


def test_settings_change_on_a_running_gateway(lab):
    """Goal: the on/off switch, the list and the limits change by an edit and a reload; nothing restarts."""
    p, q = lab.upstream(actions.fail(500)), lab.upstream(actions.ok("from q"))
    gw = lab.failover({"p": p, "q": q}, {"enabled": False, "targets": ["p/m", "q/m"]})
    config = (gw.folder / "gateway.lua").read_text()
    pid = gw.process.pid
    assert gw.chat().status == 500 and q.count == 0
    gw.write("gateway.lua", config.replace('["enabled"] = false', '["enabled"] = true'))
    gw.reload()
    assert gw.chat().text == "from q"
    gw.write("gateway.lua", config.replace('["enabled"] = false', '["max_attempts"] = 1'))
    gw.reload()
    assert gw.chat().status == 500 and (p.count, q.count) == (3, 1)
    assert gw.process.poll() is None and gw.process.pid == pid


def test_new_keys_and_providers(lab):
    """Goal: providers and client keys can be added by a reload."""
    p, q = lab.upstream(actions.ok("from p")), lab.upstream(actions.ok("from q"))
    gw = lab.failover({"p": p})
    config = (gw.folder / "gateway.lua").read_text()
    gw.write("gateway.lua", config.replace(p.base_url, q.base_url).replace(
        "return {", 'return {\n  keys = { { name = "k", secret = "secret-of-k" } },', 1))
    gw.reload()
    assert gw.chat().status == 401
    assert gw.chat(headers={"x-api-key": "secret-of-k"}).text == "from q"


def test_reload_leaks_nothing(gw):
    """Goal: after many reloads memory and descriptors are near where they were."""
    for n in range(10):
        gw.write("policies/own.lua", POLICY % f"warm{n}")
        gw.reload()
        wait_until(lambda: version(gw) == f"warm{n}")
    fds = gw.fds()
    for n in range(40):
        gw.write("policies/own.lua", POLICY % f"v{n}")
        gw.reload()
        wait_until(lambda: version(gw) == f"v{n}")
    wait_until(lambda: gw.fds() <= fds, "no more descriptors than before")


def test_two_signals_at_once(gw):
    """Goal: signals that come while a reload runs are not lost: the last edit wins."""
    for n in range(5):
        gw.write("policies/own.lua", POLICY % f"quick{n}")
        gw.signal(signal.SIGHUP)
    wait_until(lambda: version(gw) == "quick4", "the last edit")
