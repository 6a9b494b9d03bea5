# SPDX-License-Identifier: MIT
"""What a reload changes, what it keeps and what it refuses: providers, keys, routes, secrets, pools, shared state."""
import json
import re
import threading

import pytest
from support import actions, wire
from support.gateway import Raw
from support.waiting import wait_until

ONLY_A_RESTART = "only a restart can change it"


def edit(gw, old, new, count=1):
    text = (gw.folder / "gateway.lua").read_text()
    assert old in text, f"{old!r} is not in:\n{text}"
    gw.write("gateway.lua", text.replace(old, new, count))


def key_of(call):
    return call.header("authorization")


def test_a_changed_secret_is_used_by_the_next_request(lab):
    """Goal: a rotated key goes out with the next request; a stream that began with the old one goes on, whole."""
    gate = threading.Event()
    up = lab.upstream(actions.stream(wire.delta("one "), gate, wire.delta("two"), wire.finish(), wire.DONE), actions.ok())
    gw = lab.failover({"p": up}, options={"api_key": "sk-old-secret"})
    with gw.open_chat() as c:
        answer = c.start()
        first = answer.next_event()
        edit(gw, "sk-old-secret", "sk-new-secret")
        gw.reload("is in force")
        assert gw.chat().status == 200
        assert [key_of(call) for call in up.requests] == ["Bearer sk-old-secret", "Bearer sk-new-secret"]
        gate.set()
        rest = answer.events()
    assert wire.text_of([first, *rest]) == "one two" and answer.clean
    assert "sk-old-secret" not in gw.stderr and "sk-new-secret" not in gw.stderr


def test_a_secret_in_a_file(lab):
    """Goal: a key that file() reads changes with the file: a reload sees it though gateway.lua is the same."""
    up = lab.upstream(actions.ok())
    gw = lab.failover({"p": up}, options={"api_key": Raw('file("secrets/key")')}, files={"secrets/key": "sk-in-file-1\n"})
    assert gw.chat().status == 200
    gw.write("secrets/key", "sk-in-file-2\n")
    gw.reload("is in force")
    assert gw.chat().status == 200
    assert [key_of(call) for call in up.requests] == ["Bearer sk-in-file-1", "Bearer sk-in-file-2"]


def test_providers_come_go_and_move(lab):
    """Goal: providers are added, moved and taken away by reloads; requests in flight end where they began."""
    gate = threading.Event()
    p, q = lab.upstream(actions.ok("from p", gate=gate), actions.ok("from p")), lab.upstream(actions.ok("from q"))
    gw = lab.failover({"p": p})
    with gw.open_chat(stream=False) as old:
        wait_until(lambda: p.count == 1)
        edit(gw, p.base_url, q.base_url)
        gw.reload("is in force")
        assert gw.chat().text == "from q"
        edit(gw, '["p"] =', '["renamed"] =')
        edit(gw, "p/p-model", "renamed/m")
        gw.reload("is in force")
        assert gw.chat().header("x-moongate-target") == "renamed/m"
        gate.set()
        assert old.read().text == "from p"
    edit(gw, "renamed/m", "nobody/m")
    line = gw.reload("reload refused")
    assert 'no provider is named "nobody"' in line
    assert gw.chat().text == "from q"


def test_keys_are_taken_away(lab):
    """Goal: a client key that a reload removed is refused from the next request on; the others go on."""
    up = lab.upstream(actions.ok())
    gw = lab.failover({"p": up}, config={"keys": [{"name": "a", "secret": "secret-of-a"}, {"name": "b", "secret": "secret-of-b"}]})
    a, b = {"x-api-key": "secret-of-a"}, {"x-api-key": "secret-of-b"}
    assert gw.chat(headers=a).status == gw.chat(headers=b).status == 200
    edit(gw, "secret-of-a", "secret-of-c")
    gw.reload("is in force")
    assert gw.chat(headers=a).status == 401
    assert gw.chat(headers=b).status == gw.chat(headers={"x-api-key": "secret-of-c"}).status == 200


def test_routes_change(lab):
    """Goal: routes are added, moved and removed by a reload, each with its policy."""
    up = lab.upstream(actions.ok())
    gw = lab.failover({"p": up})
    assert gw.chat(target="/other/chat").status == 404
    edit(gw, '["path"] = "/v1/*"', '["path"] = "/other/*"')
    gw.reload("is in force")
    assert gw.chat(target="/other/chat").status == 200
    assert gw.chat().status == 404


def test_connections_are_kept(lab):
    """Goal: neither the clients' connections nor those to a provider that kept its name are closed by a reload."""
    up = lab.upstream(actions.ok())
    gw = lab.gateway({"workers": 1, "providers": {"p": {"dialect": "openai", "base_url": up.base_url}}, "routes": [
        {"name": "chat", "path": "/v1/*", "policy": "failover", "settings": {"targets": ["p/m"]}}]}).start()
    with gw.client() as c:
        for n in range(4):
            assert c.request("POST", "/v1/chat/completions", body=b'{"model":"m","messages":[]}').read().status == 200
            edit(gw, "return {", f"-- edit {n}\nreturn {{")
            gw.reload("is in force")
    assert up.count == 4 and len({call.connection for call in up.requests}) == 1


def test_slots_are_shared_over_a_reload(lab):
    """Goal: a provider's limit of requests in flight counts those of all generations together."""
    gate = threading.Event()
    up = lab.upstream(actions.ok("slow", gate=gate), actions.ok("quick"))
    gw = lab.failover({"p": up}, options={"max_inflight": 1, "queue": 0})
    with gw.open_chat(stream=False) as first:
        wait_until(lambda: up.count == 1)
        edit(gw, "return {", "-- edit\nreturn {")
        gw.reload("is in force")
        assert gw.chat().status == 503 and up.count == 1
        gate.set()
        assert first.read().text == "slow"
    wait_until(lambda: gw.chat().text == "quick")


STORE = """local moongate = require "moongate"
local store = moongate.store("counts")
return { name = "own", version = 1, settings = {},
  handle = function(req)
    return req:respond { json = { n = store:incr("n") } }
  end }
"""


def test_the_store_is_kept(lab):
    """Goal: what policies keep in the shared store outlives the generation."""
    gw = lab.gateway({"providers": {}, "routes": [{"name": "r", "path": "/v1/*", "policy": "own"}]},
                     policies={"own": STORE}).start()
    assert gw.chat().json()["n"] == 1
    gw.write("policies/own.lua", STORE + "-- edit\n")
    gw.reload("is in force")
    assert gw.chat().json()["n"] == 2


FIXED = {
    "listen": ('["listen"] = "127.0.0.1:0"', '["listen"] = "127.0.0.2:0"', "listen is not what"),
    "workers": ('["workers"] = 2', '["workers"] = 3', r"workers \(3, now 2\) is not what"),
    "admin": ('["listen"] = "127.0.0.1:0",\n    ["token"]', '["listen"] = "127.0.0.3:0",\n    ["token"]', "admin.listen is not what"),
    "state_dir": ("return {", 'return {\n  state_dir = "elsewhere",', "state_dir is not what"),
    "access": ("return {", 'return {\n  log = { access = "access.log" },', "log.access or log.error is not what"),
    "error": ("return {", 'return {\n  log = { error = "error.log" },', "log.access or log.error is not what"),
}


@pytest.mark.parametrize("case", FIXED)
def test_what_only_a_restart_can_change(lab, case):
    """Goal: it is refused with what it is and that a restart is needed; the rest of that edit is not taken, either."""
    old, new, said = FIXED[case]
    up = lab.upstream(actions.ok())
    gw = lab.failover({"p": up})
    edit(gw, old, new)
    edit(gw, "p/p-model", "p/other")
    line = gw.reload("reload refused")
    assert re.search(said, line) and ONLY_A_RESTART in line
    assert gw.chat().header("x-moongate-target") == "p/p-model"


@pytest.mark.parametrize("key, secret", [
    ("sk-provider-p", "sk-provider-p"),  # in force, and of the load
    ("sk-brand-new", "sk-brand-new"),  # of the load only
    ("sk-brand-new", "sk-provider-p")])  # in force only
def test_a_secret_in_a_wrong_place_is_not_logged(lab, key, secret):
    """Goal: what is told of a refused load has *** where a secret stands, of the gateway or of the load."""
    gw = lab.failover({"p": lab.upstream(actions.ok())})
    if key != "sk-provider-p":
        edit(gw, "sk-provider-p", key)
    edit(gw, '"p/p-model"', f'"{secret}/m"')
    gw.reload(r"reload refused: .*targets.*\*\*\*")
    assert secret not in gw.stderr and secret not in gw.admin_get("/admin/generations").body.decode()


def test_the_admin_token_changes(lab):
    """Goal: tokens change by a reload: the old one is refused at once."""
    up = lab.upstream(actions.ok())
    gw = lab.failover({"p": up})
    edit(gw, "admin-token-of-the-tests", "another-token")
    gw.reload("is in force")
    assert gw.admin_get("/admin/status").status == 401
    assert gw.admin_get("/admin/status", token="another-token").status == 200


def test_who_asked_for_it(lab):
    """Goal: log and audit log say who asked for each load and how it ended, refused ones too."""
    up = lab.upstream(actions.ok())
    gw = lab.failover({"p": up}, config={"state_dir": "state"})
    assert "(SIGHUP)" in gw.reload("nothing changed")
    edit(gw, "return {", "-- edit\nreturn {")
    assert "(SIGHUP)" in gw.reload("is in force")
    gw.write("gateway.lua", "return {")
    gw.reload("reload refused")
    lines = wait_until(lambda: [json.loads(x) for x in (gw.folder / "state/audit.log").read_text().splitlines()][3:] and
                       [json.loads(x) for x in (gw.folder / "state/audit.log").read_text().splitlines()])
    assert [(e["who"], e["action"], e["result"], e["generation"]) for e in lines] == [
        ("start", "start", "applied", 1), ("SIGHUP", "reload", "unchanged", 1),
        ("SIGHUP", "reload", "applied", 2), ("SIGHUP", "reload", "refused", 2)]


def test_settings_that_are_damaged_stop_the_start(lab):
    """Goal: a gateway whose kept settings cannot be read whole does not start, and says what to do; check says so, too."""
    up = lab.upstream(actions.ok())
    gw = lab.failover({"p": up}, config={"state_dir": "state"}, files={"state/settings.json": '{"format":1,'}, start=False)
    gw.start(wait=False)
    assert gw.wait_exit() == 1
    gw.checked = True
    kept = str((gw.folder / "state/settings.json").resolve())
    assert re.search(re.escape(kept) + r": error: damaged: .*edit this file, or move it away", gw.stderr)


def test_kept_settings_count_from_the_start(lab):
    """Goal: settings that were kept are over the file's from the first request on; a leftover of a kill is ignored."""
    up = lab.upstream(actions.ok())
    kept = {"format": 1, "version": 3, "routes": {"chat": {"version": 3, "settings": {"targets": ["p/kept"]}}}}
    gw = lab.failover({"p": up}, config={"state_dir": "state"},
                      files={"state/settings.json": json.dumps(kept), "state/settings.json.tmp": '{"format":1,"ver'})
    assert gw.chat().header("x-moongate-target") == "p/kept"
    gw.write("state/settings.json", json.dumps(kept).replace("p/kept", "nobody/kept"))
    gw.stop()
    gw.checked = False
    gw.start(wait=False)
    assert gw.wait_exit() == 1
    gw.checked = True
    assert re.search(r"settings\.json.*routes\.chat\.settings\.targets.*nobody.*moongate unset chat targets", gw.stderr)
    file = str((gw.folder / "state/settings.json").resolve())
    assert f"when no gateway runs, take it out of {file}, or remove that file" in gw.stderr, gw.stderr
    del kept["routes"]["chat"]["settings"]["targets"]
    gw.write("state/settings.json", json.dumps(kept))
    (gw.folder / "stderr").unlink()  # the addresses in it are those of the first run
    gw.start()
    assert gw.chat().status == 200
