# SPDX-License-Identifier: MIT
"""Settings changed on a running gateway: checked first, versioned, kept over a restart, on record."""
import json
import signal

import pytest
from support import actions
from support.gateway import ADMIN_TOKEN
from support.waiting import wait_until

CHAT = "/admin/routes/chat/settings"


@pytest.fixture
def gw(lab):
    p, q = lab.upstream(actions.fail(500)), lab.upstream(actions.ok())
    return lab.failover({"p": p, "q": q}, {"suspend": 0.5}, config={"state_dir": "state"})


def version(gw):
    return gw.api("GET", CHAT).json()["version"]


def setting(gw, name):
    return gw.api("GET", "/admin/routes/chat").json()["settings"][name]


def test_put_counts_for_the_next_request(gw):
    """Goal: a change is in force when it is answered, and only what was given is overlaid."""
    assert gw.chat().trail[0] == ("p/p-model", "server_error", 500)
    answer = gw.api("PUT", CHAT, {"targets": ["q/other"]})
    assert answer.status == 200, answer.body
    told = answer.json()
    assert (told["ok"], told["active"], told["version"], told["changed"], told["persistent"]) == (True, 2, 1, True, True)
    assert answer.header("etag") == '"1"' and told["warnings"] == []
    answer = gw.chat()
    assert answer.trail == [("q/other", "ok", 200)] and gw.entry(answer)["generation"] == 2
    page = gw.api("GET", CHAT)
    assert page.header("etag") == '"1"' and page.json()["overlay"] == {"targets": ["q/other"]}
    assert page.json()["effective"]["targets"] == ["q/other"] and page.json()["effective"]["suspend"] == 0.5


def test_values_tell_where_they_come_from(gw):
    """Goal: each setting is shown with its value and source, and the schema with help and units."""
    gw.api("PUT", CHAT, {"targets": ["q/other"], "max_attempts": 3})
    route = gw.api("GET", "/admin/routes/chat").json()
    assert gw.api("GET", "/admin/routes").json()["routes"] == [route]
    assert route["settings"]["targets"] == {"value": ["q/other"], "source": "overlay", "file": ["p/p-model", "q/q-model"]}
    assert route["settings"]["max_attempts"] == {"value": 3, "source": "overlay"}
    assert route["settings"]["suspend"] == {"value": 0.5, "source": "file"}
    assert route["settings"]["request_timeout"] == {"value": 60, "source": "default"}
    assert route["settings"]["sandbox"] == {"value": None, "source": "default"}
    schema = route["schema"]
    assert set(schema) == set(route["settings"])
    assert schema["suspend"]["type"] == "number" and schema["suspend"]["unit"] == "s" and schema["suspend"]["help"]
    assert (route["path"], route["policy"], route["policy_version"]) == ("/v1/*", "failover", 1)
    assert (route["failover"], route["on_error"], route["dialect"], route["version"]) == (True, "default_plan", "openai", 1)


def own(lab, text, settings):
    """A gateway with one route and a policy that knows no targets."""
    providers = {"p": {"dialect": "openai", "base_url": lab.upstream(actions.ok()).base_url}}
    gw = lab.gateway({"providers": providers, "routes": [{"name": "chat", "path": "/v1/*", "policy": "own", "settings": settings}]},
                     policies={"own": text})
    return gw.start()


def test_a_policys_own_schema(lab):
    """Goal: the schema of a custom policy is shown as it declares it, nested parts included."""
    text = """return { name = "own", version = "2-beta", settings = {
      mode = { type = "enum", values = { "a", "b" }, default = "a", help = "how" },
      deep = { type = "table", fields = { n = { type = "integer", min = 1, max = 9, default = 3 } }, default = {} },
      tags = { type = "list", of = { type = "string" } },
    }, handle = function(req) return req:send("p/x") end }"""
    gw = own(lab, text, {"mode": "b"})
    route = gw.api("GET", "/admin/routes/chat").json()
    assert route["schema"]["mode"] == {"type": "enum", "values": ["a", "b"], "default": "a", "help": "how"}
    assert route["schema"]["deep"]["fields"]["n"] == {"type": "integer", "min": 1, "max": 9, "default": 3}
    assert route["schema"]["tags"]["of"] == {"type": "string"}
    assert route["settings"]["deep"] == {"value": {"n": 3}, "source": "default"}
    assert (route["policy_version"], route["failover"]) == ("2-beta", None)


def test_if_match(gw):
    """Goal: a stale version is a 412 that names the right one and changes nothing; the right one, `*` or none will do."""
    def put(value, tag=None):
        return gw.api("PUT", CHAT, {"suspend": value}, headers={"If-Match": tag} if tag else {})
    assert put(1, '"0"').status == 200 and version(gw) == 1
    stale = put(2, '"0"')
    assert (stale.status, stale.json()["error"]["code"], stale.json()["version"]) == (412, "version_conflict", 1)
    assert stale.header("etag") == '"1"' and setting(gw, "suspend")["value"] == 1
    assert put(2, 'W/"1"').status == 412 and put(2, '"8", "9"').status == 412
    assert [put(3, '"1"').status, put(4, "*").status, put(5).status, put(6, '"7", "4"').status] == [200] * 4
    assert setting(gw, "suspend")["value"] == 6 and version(gw) == 5
    assert gw.api("DELETE", CHAT, headers={"If-Match": '"1"'}).status == 412
    assert gw.api("DELETE", CHAT + "/suspend", headers={"If-Match": '"1"'}).status == 412
    assert gw.api("POST", "/admin/routes/chat/failover", {"enabled": False}, headers={"If-Match": '"1"'}).status == 412
    assert gw.api("DELETE", CHAT, headers={"If-Match": '"5"'}).status == 200
    assert "conflict" in {e["result"] for e in gw.audit()}


def test_delete_one_and_all(gw):
    """Goal: PUT replaces the whole overlay; one setting or all of them go back to the file's."""
    gw.api("PUT", CHAT, {"suspend": 1, "max_attempts": 2})
    gw.api("PUT", CHAT, {"suspend": 2, "retries": 1})
    assert gw.api("GET", CHAT).json()["overlay"] == {"suspend": 2, "retries": 1}
    assert gw.api("DELETE", CHAT + "/suspend").status == 200
    assert gw.api("GET", CHAT).json()["overlay"] == {"retries": 1}
    missing = gw.api("DELETE", CHAT + "/suspend")
    assert (missing.status, missing.json()["error"]["code"]) == (404, "not_overlaid")
    answer = gw.api("DELETE", CHAT)
    assert answer.status == 200 and gw.api("GET", CHAT).json()["overlay"] == {}
    assert setting(gw, "suspend") == {"value": 0.5, "source": "file"}
    gw.api("PUT", CHAT, {"suspend": 2})
    assert gw.api("PUT", CHAT, {}).status == 200 and gw.api("GET", CHAT).json()["overlay"] == {}


@pytest.mark.parametrize("settings, said", [
    ({"suspnd": 1}, 'did you mean "suspend"?'), ({"suspend": -1}, "found -1"), ({"suspend": "x"}, "found a string"),
    ({"targets": []}, "is empty"), ({"targets": ["x/y"]}, 'no provider is named "x"'), ({"targets": "p/x"}, "expected a list"),
    ({"breaker": {"failures": "many"}}, "breaker"), ({"order": "random"}, "expected one of"), ({"suspend": 1, "zz": 2}, "zz")])
def test_refused_changes_leave_everything(gw, settings, said):
    """Goal: a change that the policy's schema refuses is a 422 with diagnostics, and nothing is as if it had been tried."""
    gw.api("PUT", CHAT, {"suspend": 3})
    before = (gw.folder / "state/settings.json").read_bytes()
    answer = gw.api("PUT", CHAT, settings)
    assert answer.status == 422, answer.body
    told = answer.json()
    assert (told["ok"], told["active"]) == (False, 2)
    assert any(said in d["message"] for d in told["diagnostics"]), told
    assert all(set(d) == {"file", "line", "message"} for d in told["diagnostics"])
    assert gw.api("GET", CHAT).json()["overlay"] == {"suspend": 3} and version(gw) == 1
    assert (gw.folder / "state/settings.json").read_bytes() == before
    answer = gw.chat()
    assert answer.status == 200 and gw.entry(answer)["generation"] == 2
    assert gw.api("GET", "/admin/generations").json()["last_refused"]["diagnostics"] == told["diagnostics"]


def test_survives_a_restart(gw):
    """Goal: the overlay, with its version, is there after a kill -9."""
    gw.api("PUT", CHAT, {"targets": ["q/other"], "suspend": 2.5})
    gw.signal(signal.SIGKILL)
    gw.wait_exit()
    (gw.folder / "stderr").unlink()
    gw.start()
    page = gw.api("GET", CHAT).json()
    assert (page["version"], page["overlay"]) == (1, {"targets": ["q/other"], "suspend": 2.5})
    assert gw.chat().trail == [("q/other", "ok", 200)]


def test_not_persistent_without_state_dir(lab):
    """Goal: without a state_dir a change works, and is said to be gone after a restart."""
    gw = lab.failover({"p": lab.upstream(actions.ok())})
    assert gw.api("PUT", CHAT, {"suspend": 1}).json()["persistent"] is False
    assert setting(gw, "suspend")["value"] == 1
    assert gw.api("POST", "/admin/targets/p%2Fx/suspend").json()["persistent"] is False
    wait_until(lambda: "audit: " in gw.stderr, "the audit line in the log, which a thread of its own writes")


def test_the_same_again_changes_nothing(gw):
    """Goal: what is in force already makes no generation."""
    gw.api("PUT", CHAT, {"suspend": 3})
    answer = gw.api("PUT", CHAT, {"suspend": 3}).json()
    assert (answer["ok"], answer["active"], answer["changed"]) == (True, 2, False)


def test_failover_switch(gw):
    """Goal: off, only the first target is asked; on, the next ones are, too; the switch is a setting like others."""
    switch = "/admin/routes/chat/failover"
    gw.api("PUT", CHAT, {"max_attempts": 2})
    assert gw.api("POST", switch, {"enabled": False}).status == 200
    assert gw.api("GET", "/admin/routes/chat").json()["failover"] is False
    assert [t for t, _, _ in gw.chat().trail] == ["p/p-model"]
    assert gw.api("GET", CHAT).json()["overlay"] == {"enabled": False, "max_attempts": 2}
    assert gw.api("POST", switch, {"enabled": True}).status == 200
    assert gw.chat().status == 200 and gw.api("GET", "/admin/routes/chat").json()["failover"] is True


def test_failover_of_a_policy_without_the_switch(lab):
    """Goal: a policy that has no such setting is a 422 that says so."""
    gw = own(lab, "return { handle = function(req) return req:send('p/x') end }", {})
    answer = gw.api("POST", "/admin/routes/chat/failover", {"enabled": False})
    assert (answer.status, answer.json()["error"]["code"]) == (422, "no_such_setting")


def test_unknown_routes(gw):
    """Goal: a route that is not there is a 404 that names the nearest."""
    for method, path in (("GET", ""), ("GET", "/settings"), ("PUT", "/settings"), ("DELETE", "/settings"),
                         ("DELETE", "/settings/suspend"), ("POST", "/failover")):
        answer = gw.api(method, "/admin/routes/chatt" + path, {} if method in ("PUT", "POST") else None)
        assert answer.status == 404 and "did you mean 'chat'?" in answer.json()["error"]["message"], answer.body


def test_audit(gw):
    """Goal: each change has its line: who, why, what was and what is; refused ones too."""
    gw.api("PUT", CHAT, {"suspend": 1}, headers={"X-Moongate-Why": "by header"})
    gw.api("PUT", CHAT + "?why=by+query%21", {"suspend": 2})
    gw.api("PUT", CHAT, {"suspend": -2})
    gw.api("PUT", CHAT, b"no JSON")
    gw.api("PUT", CHAT.replace("chat", "x"), {})
    gw.api("POST", "/admin/routes/chat/failover", {"enabled": False, "why": "by body"})
    gw.api("DELETE", CHAT)
    entries = gw.audit()
    assert [(e["object"], e["result"]) for e in entries] == [
        ("chat", "applied"), ("chat", "applied"), ("chat", "refused"), ("chat", "refused"), ("x", "refused"), ("chat", "applied"),
        ("chat", "applied")]
    assert [e["why"] or None for e in entries] == ["by header", "by query!", None, None, None, "by body", None]
    assert {e["action"] for e in entries} == {"settings"}
    assert all(e["who"].startswith("admin 127.0.0.1:") and e["time"] for e in entries)
    assert (entries[1]["before"], entries[1]["after"]) == ({"suspend": 1}, {"suspend": 2})
    assert [e["generation"] for e in entries][:2] == [2, 3]
    newest = gw.api("GET", "/admin/generations").json()["generations"]
    assert [g["why"] for g in newest][1] == "by body"


def test_reload_keeps_the_overlay(gw):
    """Goal: a change of the file does not undo an admin's change, and a setting overlaid shows both values."""
    gw.api("PUT", CHAT, {"suspend": 9})
    text = (gw.folder / "gateway.lua").read_text()
    gw.write("gateway.lua", text.replace("0.5", "0.7"))
    assert gw.api("POST", "/admin/reload").json()["active"] == 3
    assert setting(gw, "suspend") == {"value": 9, "source": "overlay", "file": 0.7}
    assert json.loads((gw.folder / "state/settings.json").read_text())["routes"]["chat"]["settings"] == {"suspend": 9}


def test_a_mask_is_no_setting(lab):
    """Goal: what GET shows of a secret cannot be put back in its place; the calls that change one key keep the secret."""
    gw = own(lab, """return { settings = { note = { type = "string" }, enabled = { type = "boolean" },
      map = { type = "table", of = { type = "string" } } }, handle = function(req) return req:send("p/x") end }""", {})
    secret = {"note": f"say {ADMIN_TOKEN}", "map": {"a": "b"}}
    assert gw.api("PUT", CHAT, secret).status == 200
    shown = gw.api("GET", CHAT).json()["overlay"]
    assert shown == {"note": "say ***", "map": {"a": "b"}}
    for settings in (shown, {"map": {"deep": "x***"}}, {"map": {"***": "x"}}):
        answer = gw.api("PUT", CHAT, settings)
        assert (answer.status, answer.json()["error"]["code"]) == (400, "masked_value")
        assert f"'{'note' if settings is shown else 'map'}'" in answer.json()["error"]["message"]
    assert gw.api("POST", "/admin/routes/chat/failover", {"enabled": False}).status == 200
    assert gw.api("DELETE", CHAT + "/map").status == 200
    assert gw.api("DELETE", CHAT + "/enabled").status == 200
    assert gw.api("PUT", CHAT, {"note": f"say {ADMIN_TOKEN}"}).json()["changed"] is False


def test_settings_of_a_route_that_is_gone(gw):
    """Goal: they wait, with a warning that says how to drop them; so they can be dropped, once and with If-Match."""
    gw.api("PUT", CHAT, {"suspend": 9})
    text = (gw.folder / "gateway.lua").read_text()
    gw.write("gateway.lua", text.replace('"chat"', '"talk"'))
    warning = gw.api("POST", "/admin/reload").json()["warnings"][0]["message"]
    assert 'there is no route "chat"' in warning and "moongate unset chat" in warning
    gw.wait_log('settings\\.json: there is no route "chat"')
    assert gw.api("PUT", CHAT, {"suspend": 8}).status == 404 and gw.api("GET", CHAT).status == 404
    assert gw.api("DELETE", CHAT, headers={"If-Match": '"7"'}).status == 412
    told = gw.api("DELETE", CHAT, headers={"If-Match": '"1"'})
    assert (told.status, told.json()["version"], told.json()["warnings"]) == (200, 2, [])
    assert gw.api("POST", "/admin/reload").json()["warnings"] == []
    assert json.loads((gw.folder / "state/settings.json").read_text())["routes"]["chat"]["settings"] == {}
