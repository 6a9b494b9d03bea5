# SPDX-License-Identifier: MIT
"""Reloads, sentence by sentence of what is promised: the transaction, its triggers, what it keeps, and what it refuses."""
import os
import re
import shutil
import signal
import threading
import time

import pytest
from support import actions, wire
from support.client import chat_body
from support.gateway import ADMIN_TOKEN, Raw
from support.rules import ADMIN, Rules, command
from support.waiting import wait_steady, wait_until

POLICY = """return {
  name = "own", version = 1, settings = {},
  handle = function(req)
    return req:respond { json = { version = "%s" } }
  end,
}
"""


@pytest.fixture
def own(lab):
    """own(version, **configuration): a gateway whose only policy answers with its version."""
    def make(version="one", files=None, **config):
        return lab.gateway({
            "admin": ADMIN, "state_dir": "state", "providers": {"p": {"dialect": "openai", "base_url": "http://127.0.0.1:9/v1"}},
            "routes": [{"name": "chat", "path": "/v1/*", "policy": "own"}], **config},
            policies={"own": POLICY % version}, files=files).start()
    return make


def version(gw):
    return gw.chat().json()["version"]


def edit(gw, old, new, name="gateway.lua"):
    text = (gw.folder / name).read_text()
    assert old in text, f"no {old!r} in\n{text}"
    gw.write(name, text.replace(old, new))


def becomes(gw, wanted):
    wait_until(lambda: version(gw) == wanted, f"version {wanted}")


# The transaction.

def test_snapshot_and_hash(own):
    """Goal: unchanged files are no new generation, whatever their times; the same content has the same hash, other content another."""
    gw = own()
    rules = Rules(gw)
    first = rules.generations()[1]["hash"]
    os.utime(gw.folder / "policies/own.lua")
    status, value = rules.reload()
    assert (status, value["ok"], value["active"], value["changed"]) == (200, True, 1, False)
    gw.write("policies/own.lua", POLICY % "two")
    second = rules.apply()
    gw.write("policies/own.lua", POLICY % "one")
    third = rules.apply()
    hashes = {i: g["hash"] for i, g in rules.generations().items()}
    assert hashes[third] == first != hashes[second]


def test_all_diagnostics_at_once(own):
    """Goal: mistakes in several files are one answer: each with file, line and message; the same are in the log and under last_refused."""
    gw = own(routes=[{"name": "chat", "path": "/v1/*", "policy": "own"}, {"name": "b", "path": "/b", "policy": "second"}],
             files={"policies/second.lua": POLICY % "b"})
    rules = Rules(gw)
    gw.write("policies/own.lua", "return {\n  handle = = 1\n}\n")
    gw.write("policies/second.lua", "local a\n\nlocal b = a.c\nreturn {}\n")
    edit(gw, '["workers"]', '["worker"]')
    after = len(gw.stderr)
    diagnostics = rules.refused()
    found = {(os.path.basename(d["file"]), d["line"]) for d in diagnostics}
    assert {("own.lua", 2), ("second.lua", 3)} <= found, diagnostics
    assert any("worker" in d["message"] and d["file"].endswith("gateway.lua") for d in diagnostics), diagnostics
    for place in (r"own\.lua:2", r"second\.lua:3", r"\bworker\b"):
        gw.wait_log(place, after=after)
    refused = rules.get("/admin/generations")["last_refused"]
    assert refused["diagnostics"] == diagnostics and refused["at"] and refused["who"]
    assert version(gw) == "one" and rules.active == 1


def test_last_refused_is_kept_until_a_load_applies(own):
    """Goal: null at first, the refusal then, null again after the next good reload."""
    gw = own()
    rules = Rules(gw)
    assert rules.get("/admin/generations")["last_refused"] is None
    gw.write("policies/own.lua", "error('x')")
    rules.refused()
    gw.write("policies/own.lua", POLICY % "one")
    assert rules.reload()[1]["changed"] is False
    gw.write("policies/own.lua", POLICY % "two")
    rules.apply()
    assert rules.get("/admin/generations")["last_refused"] is None


def test_staging_has_no_effect(own):
    """Goal: a load that fails after other policies were staged leaves nothing of them in force."""
    gw = own(routes=[{"name": "chat", "path": "/v1/*", "policy": "own"}, {"name": "z", "path": "/z", "policy": "z"}],
             files={"policies/z.lua": POLICY % "z"})
    gw.write("policies/own.lua", POLICY % "two")
    gw.write("policies/z.lua", "error('last of all')")
    Rules(gw).refused()
    assert [version(gw) for _ in range(6)] == ["one"] * 6


def test_all_workers_or_none(own):
    """Goal: with four workers, requests on many connections see only the old version before a reload's answer, and only the new one after it."""
    gw = own(workers=4)
    rules = Rules(gw)
    for n in range(5):
        assert {version(gw) for _ in range(24)} == {"one" if n == 0 else f"v{n}"}
        gw.write("policies/own.lua", POLICY % f"v{n + 1}")
        rules.apply()
        assert {version(gw) for _ in range(24)} == {f"v{n + 1}"}
        gw.write("policies/own.lua", "error('x')")
        rules.refused()
        gw.write("policies/own.lua", POLICY % f"v{n + 1}")


def test_generation_numbers(own):
    """Goal: numbers rise, each is used once, and status, generations and the access log name the same."""
    gw = own()
    rules = Rules(gw)
    seen = [rules.active]
    for n in range(4):
        gw.write("policies/own.lua", POLICY % n)
        seen.append(rules.apply())
        answer = gw.chat()
        assert rules.active == rules.get("/admin/status")["generation"] == seen[-1]
        assert gw.entry(answer)["generation"] == seen[-1]
    assert seen == sorted(set(seen))


def test_draining(lab):
    """Goal: a generation with a request on it is "draining" and says so; when the request has ended it is kept, with nothing on it."""
    gate = threading.Event()
    up = lab.upstream(actions.stream(wire.delta("one "), gate, wire.delta("two"), wire.finish(), wire.DONE), actions.ok())
    gw = lab.failover({"p": up}, config={"admin": ADMIN})
    rules = Rules(gw)
    with gw.open_chat() as c:
        answer = c.start()
        first = answer.next_event()
        old = rules.generations()[1]
        assert old["state"] == "active" and old["references"] >= 1
        edit(gw, "return", "-- edited\nreturn")
        rules.apply()
        old = rules.generations()[1]
        assert old["state"] == "draining" and old["references"] >= 1
        gate.set()
        assert wire.text_of([first, *answer.events()]) == "one two" and answer.clean
    wait_until(lambda: (g := rules.generations()[1])["state"] == "kept" and g["references"] == 0, "generation 1 to be let go")


def test_last_five_are_kept(own):
    """Goal: five generations are kept; the oldest of them can be activated, one that is gone is a 404."""
    gw = own("v0")
    rules = Rules(gw)
    for n in range(1, 9):
        gw.write("policies/own.lua", POLICY % f"v{n}")
        rules.apply()
    wait_until(lambda: len(rules.generations()) == 5, "five generations")
    kept = list(rules.generations())
    assert kept == [9, 8, 7, 6, 5], "newest first"
    assert [g["state"] for g in rules.generations().values()] == ["active"] + ["kept"] * 4
    assert rules.activate(2).status == 404 and version(gw) == "v8"
    assert rules.activate(5).status == 200 and version(gw) == "v4"


# Policies' own tests as a gate.

TEST = """local sim = require "moongate.sim"
sim.test("answers", function()
  local world = sim.world { policy = "own", settings = {}, providers = { p = { 200 } }, seed = 1 }
  local r = world:request { model = "m" }
  sim.equal(r.status, %d)
end)
"""


def test_policy_tests_are_a_gate(own):
    """Goal: with reload.tests a policy whose own test fails is refused, with the test's file and line; when it passes the reload applies."""
    gw = own(reload={"tests": True}, files={"policies/own_test.lua": TEST % 200})
    rules = Rules(gw)
    gw.write("policies/own.lua", (POLICY % "two").replace("json =", "status = 418, json ="))
    diagnostics = rules.refused()
    assert any(d["file"].endswith("own_test.lua") and d["line"] == 5 for d in diagnostics), diagnostics
    assert version(gw) == "one"
    gw.write("policies/own_test.lua", TEST % 418)
    rules.apply()
    assert gw.chat().status == 418


def test_policy_tests_are_optional(own):
    """Goal: without reload.tests a failing or broken test file is nobody's business."""
    gw = own(files={"policies/own_test.lua": TEST % 500})
    gw.write("policies/own.lua", POLICY % "two")
    Rules(gw).apply()
    gw.write("policies/own_test.lua", "this is no Lua")
    assert Rules(gw).reload()[1]["changed"] is False
    assert version(gw) == "two"


# Triggers.

def test_triggers_are_told_apart(own):
    """Goal: start, SIGHUP, the admin API and the command each reload, and each generation tells who it was, why and when."""
    gw = own()
    rules = Rules(gw)
    assert "start" in rules.generations()[1]["who"]
    gw.write("policies/own.lua", POLICY % "by signal")
    gw.signal(signal.SIGHUP)
    becomes(gw, "by signal")
    assert "SIGHUP" in rules.generations()[rules.active]["who"]
    gw.write("policies/own.lua", POLICY % "by api")
    by_api = rules.apply("the third try")
    made = rules.generations()[by_api]
    assert version(gw) == "by api" and "admin" in made["who"] and made["why"] == "the third try"
    gw.write("policies/own.lua", POLICY % "by command")
    done = command(gw, "reload", "--why", "because of it")
    assert done.returncode == 0, done.stderr
    made = rules.generations()[rules.active]
    assert version(gw) == "by command" and "admin" in made["who"] and made["why"] == "because of it"
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", made["loaded_at"])


# The file watch. Editors differ in how they save; all of these have to be seen.

def save_rename(path, text):
    fresh = path.with_name(f".{path.name}.tmp123")
    fresh.write_text(text)
    os.replace(fresh, path)


def save_in_place(path, text):
    with open(path, "r+") as file:
        file.truncate(0)
        for at in range(0, len(text), 40):
            file.write(text[at:at + 40])
            file.flush()
            time.sleep(0.005)


def save_like_vim(path, text):
    """The old file becomes a backup, a new one takes its name, a swap file and a probe come and go."""
    swap, backup, probe = path.with_name(f".{path.name}.swp"), path.with_name(path.name + "~"), path.with_name("4913")
    swap.write_text("swap")
    probe.write_text("")
    probe.unlink()
    os.rename(path, backup)
    path.write_text(text)
    backup.unlink()
    swap.unlink()


def save_like_emacs(path, text):
    lock = path.with_name(f".#{path.name}")
    lock.symlink_to("somebody@somewhere.1:2")
    path.with_name(f"#{path.name}#").write_text(text)
    shutil.copy(path, path.with_name(path.name + "~"))
    path.write_text(text)
    path.with_name(f"#{path.name}#").unlink()
    lock.unlink()


def save_by_remove(path, text):
    path.unlink()
    path.write_text(text)


@pytest.mark.parametrize("save", [save_rename, save_in_place, save_like_vim, save_like_emacs, save_by_remove])
def test_watch_sees_how_editors_save(own, save):
    """Goal: each of ten saves in a row is served without a signal, and the generation names the file watch."""
    gw = own(reload={"watch": True})
    for n in range(10):
        save(gw.folder / "policies/own.lua", POLICY % f"save {n}")
        becomes(gw, f"save {n}")
    rules = Rules(gw)
    assert "watch" in rules.generations()[rules.active]["who"]
    assert rules.get("/admin/status")["watch"] is True


def test_watch_is_debounced(own):
    """Goal: many saves in quick succession are few reloads, and the last one counts."""
    gw = own(reload={"watch": True, "debounce": 0.5})
    times = []
    for n in range(40):
        gw.write("policies/own.lua", POLICY % f"quick {n}")
        times.append(time.monotonic())
    becomes(gw, "quick 39")
    pauses = sum(b - a > 0.25 for a, b in zip(times, times[1:]))  # a stalled test is no quick succession
    assert Rules(gw).active <= 5 + pauses


def test_watch_sees_all_kinds_of_files(own):
    """Goal: the configuration, modules, a folder that appears later, and what file() read all count."""
    gw = own(reload={"watch": True}, keys=[{"name": "k", "secret": Raw('file("key.txt")')}], files={"key.txt": "secret-of-k"})
    key = {"x-api-key": "secret-of-k"}

    def says(wanted):
        wait_until(lambda: (a := gw.chat(headers=key)).status == 200 and a.json()["version"] == wanted, wanted)
    text = POLICY.replace('"%s"', '(require "%s").text')
    (gw.folder / "lua").mkdir(exist_ok=True)
    gw.write("lua/late.lua", "return { text = 'late' }")
    gw.write("policies/own.lua", text % "late")
    says("late")
    gw.write("lua/late.lua", "return { text = 'later' }")
    says("later")
    gw.write("lua/deep/er.lua", "return { text = 'deep' }")
    gw.write("policies/own.lua", text % "deep.er")
    says("deep")
    time.sleep(0.5)
    gw.write("lua/deep/er.lua", "return { text = 'deeper' }")
    says("deeper")
    gw.write("key.txt", "another-secret")
    wait_until(lambda: gw.chat(headers={"x-api-key": "another-secret"}).status == 200, "the new key")
    assert gw.chat(headers=key).status == 401
    key = {"x-api-key": "third-secret"}
    edit(gw, 'file("key.txt")', '"third-secret"')
    wait_until(lambda: gw.chat(headers=key).status == 200, "the new configuration")


def test_watch_ignores_what_does_not_matter(own):
    """Goal: swap files, backups, logs and other files beside the sources load nothing."""
    gw = own(reload={"watch": True}, files={"lua/module.lua": "return {}"})
    rules = Rules(gw)
    before = wait_steady(lambda: rules.get("/admin/status")["reloads"], quiet=1.0)
    for name in ("policies/.own.lua.swp", "policies/own.lua~", "policies/#own.lua#", "policies/4913", "notes.txt", "gateway.lua.bak", "lua/x.txt"):
        gw.write(name, "nothing of it")
    time.sleep(1.0)
    assert rules.get("/admin/status")["reloads"] == before and rules.active == 1


def test_watch_survives_mistakes(own):
    """Goal: a broken save changes nothing and is told; the repair is seen; a file that is away for a moment is no end of the watch."""
    gw = own(reload={"watch": True})
    rules = Rules(gw)
    gw.write("policies/own.lua", "return {\n  handle = = 1\n}\n")
    gw.wait_log(r"own\.lua:2")
    refused = wait_until(lambda: rules.get("/admin/generations")["last_refused"], "the refusal")
    assert "watch" in refused["who"] and version(gw) == "one"
    (gw.folder / "policies/own.lua").unlink()
    time.sleep(0.6)
    assert version(gw) == "one"
    gw.write("policies/own.lua", POLICY % "repaired")
    becomes(gw, "repaired")
    os.rename(gw.folder / "policies", gw.folder / "away")
    time.sleep(0.6)
    assert version(gw) == "repaired"
    os.rename(gw.folder / "away", gw.folder / "policies")
    time.sleep(0.6)
    gw.write("policies/own.lua", POLICY % "back again")
    becomes(gw, "back again")


def test_watch_is_switched_by_reload(own):
    """Goal: off by default; a reload switches it on, and a watched edit switches it off."""
    gw = own()
    rules = Rules(gw)
    gw.write("policies/own.lua", POLICY % "unseen")
    time.sleep(0.8)
    assert version(gw) == "one" and rules.get("/admin/status")["watch"] is False
    edit(gw, "return {", "return {\n  reload = { watch = true },", )
    rules.apply()
    assert rules.get("/admin/status")["watch"] is True
    gw.write("policies/own.lua", POLICY % "seen")
    becomes(gw, "seen")
    edit(gw, "watch = true", "watch = false")
    wait_until(lambda: rules.get("/admin/status")["watch"] is False, "the watch to end")
    gw.write("policies/own.lua", POLICY % "unseen")
    time.sleep(0.8)
    assert version(gw) == "seen"


# What changes the same way, and what is kept.

def test_providers_keys_and_routes_come_and_go(lab):
    """Goal: a provider, a client key and a route are added, changed and taken away by reloads alone."""
    p, q = lab.upstream(actions.ok("from p")), lab.upstream(actions.ok("from q"))
    keys = [{"name": "a", "secret": "secret-of-a"}]
    gw = lab.failover({"p": p}, config={"admin": ADMIN, "keys": keys})
    rules, plain = Rules(gw), (gw.folder / "gateway.lua").read_text()

    def ask(key="a", path="/v1/chat/completions"):
        answer = gw.chat(headers={"x-api-key": f"secret-of-{key}"}, target=path)
        return answer.text if answer.status == 200 else answer.status
    assert [ask(), ask("b"), ask(path="/new/chat/completions")] == ["from p", 401, 404]
    more = plain.replace('"secret-of-a",', '"secret-of-a" }, { name = "b", secret = "secret-of-b",', 1)
    more = more.replace('["p"] = {', f'["q"] = {{ dialect = "openai", base_url = "{q.base_url}" }}, ["p"] = {{', 1)
    more = more.replace('["routes"] = {', '["routes"] = { { name = "new", path = "/new/*", policy = "failover", settings = { targets = { "q/x" } } },', 1)
    gw.write("gateway.lua", more)
    rules.apply()
    assert [ask(), ask("b"), ask(path="/new/chat/completions")] == ["from p", "from p", "from q"]
    assert {r["name"] for r in rules.get("/admin/routes")["routes"]} == {"new", "chat"}
    gw.write("gateway.lua", more.replace(q.base_url, p.base_url))
    rules.apply()
    assert ask(path="/new/chat/completions") == "from p"
    gw.write("gateway.lua", plain)
    rules.apply()
    assert [ask(), ask("b"), ask(path="/new/chat/completions")] == ["from p", 401, 404]


def test_connection_pools_are_kept(lab):
    """Goal: requests before and after reloads go over the same connection to a provider that kept its name."""
    up = lab.upstream(actions.ok())
    gw = lab.failover({"p": up}, config={"admin": ADMIN, "workers": 1})
    rules = Rules(gw)
    with gw.client() as c:
        for n in range(6):
            assert c.request("POST", "/v1/chat/completions", body=chat_body()).read().status == 200
            edit(gw, "return {", f"-- edit {n}\nreturn {{")
            rules.apply()
        assert c.request("POST", "/v1/chat/completions", body=chat_body()).read().status == 200
    assert (up.count, up.connections) == (7, 1)


def test_shared_state_is_kept(lab):
    """Goal: the store, windows, suspensions and their reasons, averages and counts are what they were before the reload."""
    text = """    local store = moongate.store("mine")
    if req.path == "/v1/facts" then
      return req:respond { json = { n = store:incr("n"), held = moongate.health("p/held").suspended_for, version = "%s" } }
    end
    moongate.suspend("p/held", 500, "of the test")
    return req:send("p/p-model")"""
    gw = lab.policy({"p": lab.upstream(actions.ok())}, text % "one", config={"admin": ADMIN})
    rules = Rules(gw)
    assert gw.chat().status == 200
    before = gw.facts("p/p-model")
    assert gw.chat(target="/v1/facts").json()["n"] == 1
    edit(gw, '"one"', '"two"', "policies/own.lua")
    rules.apply()
    facts = gw.chat(target="/v1/facts").json()
    assert (facts["n"], facts["version"]) == (2, "two") and 400 < facts["held"] <= 500
    after = gw.facts("p/p-model")
    assert {k: after[k] for k in ("successes", "streak", "ewma_total")} == {k: before[k] for k in ("successes", "streak", "ewma_total")}
    assert gw.facts("p/held")["reason"] == "of the test"
    assert gw.metric("moongate_requests_total") >= 3, "counters go on"


@pytest.mark.parametrize("way", ["text", "file"])
def test_changed_secret(lab, way):
    """Goal: a provider's new key is used by the very next request; a stream under the old one goes on, whole; neither key is told anywhere."""
    gate = threading.Event()
    up = lab.upstream(actions.stream(wire.delta("one "), gate, wire.delta("two"), wire.finish(), wire.DONE), actions.ok())
    up.options = {"api_key": Raw('file("key.txt")') if way == "file" else "sk-the-old-secret"}
    gw = lab.failover({"p": up}, config={"admin": ADMIN, "state_dir": "state"}, files={"key.txt": "sk-the-old-secret\n"})
    rules = Rules(gw)
    with gw.open_chat() as c:
        answer = c.start()
        first = answer.next_event()
        edit(gw, "sk-the-old-secret", "sk-the-new-secret", "key.txt" if way == "file" else "gateway.lua")
        rules.apply()
        assert gw.chat().status == 200
        gate.set()
        assert wire.text_of([first, *answer.events()]) == "one two" and answer.clean
    assert [r.header("authorization") for r in up.requests] == ["Bearer sk-the-old-secret", "Bearer sk-the-new-secret"]
    told = gw.stderr + gw.stdout + rules.audit_text() + str(rules.get("/admin/generations")) + str(rules.get("/admin/status"))
    assert "the-old-secret" not in told and "the-new-secret" not in told


def test_changed_admin_token(own):
    """Goal: the admin's own tokens change by a reload, too."""
    gw = own()
    rules = Rules(gw)
    edit(gw, ADMIN_TOKEN, "another-token-of-the-tests")
    rules.apply()
    assert rules.call("GET", "/admin/status").status == 401
    assert rules.call("GET", "/admin/status", token="another-token-of-the-tests").status == 200


# What only a restart can change.

RESTART = {
    "listen": ('["listen"] = "127.0.0.1:0",\n  ["workers"]', '["listen"] = { "127.0.0.1:0", "127.0.0.2:0" },\n  ["workers"]', "listen"),
    "workers": ('["workers"] = 2', '["workers"] = 3', "workers"),
    "state_dir": ('["state_dir"] = "state"', '["state_dir"] = "other"', "state_dir"),
    "admin": ('["admin"] = {\n    ["listen"] = "127.0.0.1:0"', '["admin"] = {\n    ["listen"] = "127.0.0.3:0"', "admin"),
}


@pytest.mark.parametrize("case", RESTART)
def test_what_only_a_restart_can_change(own, case):
    """Goal: refused with a message that names the setting and the restart, in the file where it stands; nothing else of the edit is taken."""
    gw = own()
    rules = Rules(gw)
    old, new, word = RESTART[case]
    edit(gw, old, new)
    gw.write("policies/own.lua", POLICY % "two")
    diagnostics = rules.refused()
    assert any(word in d["message"] and "restart" in d["message"] and d["file"].endswith("gateway.lua") for d in diagnostics), diagnostics
    assert version(gw) == "one" and rules.active == 1
    edit(gw, new, old)
    rules.apply()
    assert version(gw) == "two"
