# SPDX-License-Identifier: MIT
"""Generations through the admin API: load, try, go back and forward, and who did it."""
import threading

import pytest
from support import actions, wire
from support.gateway import ADMIN_TOKEN
from support.waiting import wait_until

CHAT = "/admin/routes/chat/settings"


@pytest.fixture
def gw(lab):
    return lab.failover({"p": lab.upstream(actions.ok())}, {"suspend": 1}, config={"state_dir": "state"})


def edit(gw, old, new):
    text = (gw.folder / "gateway.lua").read_text()
    assert old in text
    gw.write("gateway.lua", text.replace(old, new))


def load(gw, path="/admin/reload", body=None):
    answer = gw.api("POST", path, body)
    return answer.status, answer.json()


def generations(gw):
    return gw.api("GET", "/admin/generations").json()


def states(gw):
    return {g["id"]: g["state"] for g in generations(gw)["generations"]}


def test_reload(gw):
    """Goal: DESIGN's answers: changed, unchanged, refused with every mistake's file and line."""
    assert load(gw) == (200, {"ok": True, "active": 1, "changed": False, "warnings": []})
    edit(gw, "p-model", "new-model")
    assert load(gw, body={"why": "a new model"}) == (200, {"ok": True, "active": 2, "changed": True, "warnings": []})
    assert gw.chat().trail == [("p/new-model", "ok", 200)]
    gw.write("gateway.lua", "return {\n listen =\n}")
    status, told = load(gw)
    assert (status, told["ok"], told["active"]) == (422, False, 2)
    assert [(d["file"].endswith("gateway.lua"), d["line"]) for d in told["diagnostics"]] == [(True, 3)]
    assert gw.chat().status == 200
    page = generations(gw)
    assert page["active"] == 2 and page["last_refused"]["diagnostics"] == told["diagnostics"]
    assert page["last_refused"]["who"].startswith("admin 127.0.0.1:")
    newest, first = page["generations"]
    assert (newest["id"], newest["state"], newest["why"]) == (2, "active", "a new model")
    assert newest["who"].startswith("admin 127.0.0.1:") and newest["calls"] == 2 and newest["memory"] > 0
    assert (first["id"], first["who"], first["state"]) == (1, "start", "kept")
    assert len({g["hash"] for g in page["generations"]}) == 2


def test_all_mistakes_at_once(gw):
    """Goal: a refused load names every mistake, not the first."""
    edit(gw, '["suspend"] = 1', '["suspnd"] = 1, ["retries"] = -1')
    status, told = load(gw)
    assert status == 422 and len(told["diagnostics"]) == 2


def test_warnings_are_told(gw):
    """Goal: what is odd but possible comes with the answer."""
    edit(gw, '["suspend"] = 1', '["suspend"] = 1, ["max_attempts"] = 1, ["retries"] = 3')
    status, told = load(gw)
    assert status == 200 and told["warnings"] and set(told["warnings"][0]) == {"file", "line", "message"}


def test_check_changes_nothing(gw):
    """Goal: a check says what a reload would, and that is all."""
    assert load(gw, "/admin/check") == (200, {"ok": True, "active": 1, "warnings": []})
    edit(gw, "p-model", "new-model")
    assert load(gw, "/admin/check") == (200, {"ok": True, "active": 1, "warnings": []})
    assert gw.chat().trail == [("p/p-model", "ok", 200)]
    gw.write("gateway.lua", "return 7")
    status, told = load(gw, "/admin/check")
    assert (status, told["ok"], told["active"]) == (422, False, 1) and told["diagnostics"]
    page = generations(gw)
    assert len(page["generations"]) == 1 and page["last_refused"] is None and gw.audit() == []


def test_activate_back_and_forward(gw):
    """Goal: a generation that is kept comes back under its number, with files and overlay as they were, and so does the other."""
    edit(gw, "p-model", "second")
    load(gw)
    gw.api("PUT", CHAT, {"targets": ["p/third"]})
    assert gw.chat().trail[0][0] == "p/third"
    for generation, model in ((1, "p-model"), (2, "second"), (3, "third"), (1, "p-model")):
        status, told = load(gw, f"/admin/generations/{generation}/activate", {"why": "to see"})
        assert (status, told) == (200, {"ok": True, "active": generation, "changed": True, "warnings": []})
        assert gw.chat().trail == [(f"p/{model}", "ok", 200)]
        assert states(gw)[generation] == "active" and list(states(gw).values()).count("active") == 1
    assert gw.api("GET", CHAT).json()["overlay"] == {}
    assert load(gw, "/admin/generations/1/activate")[1]["changed"] is False
    assert [e["action"] for e in gw.audit()].count("activate") >= 4


@pytest.mark.parametrize("name", ["9", "0", "-1", "x", "1x", "99999999999999999999", "4294967297", "%31%20"])
def test_activate_unknown(gw, name):
    """Goal: a generation that is not there is a 404."""
    answer = gw.api("POST", f"/admin/generations/{name}/activate")
    assert (answer.status, answer.json()["error"]["code"]) == (404, "unknown_generation")
    assert gw.audit()[0]["result"] != "applied"


def test_the_last_five_are_kept(gw):
    """Goal: older ones are forgotten, numbers are not used again."""
    for i in range(7):
        edit(gw, '["suspend"] = 1', f'["suspend"] = 1{i}') if i == 0 else edit(gw, f"1{i - 1},", f"1{i},")
        assert load(gw)[1]["active"] == i + 2
    wait_until(lambda: list(states(gw)) == [8, 7, 6, 5, 4], "older ones to drain and be forgotten")
    assert gw.api("POST", "/admin/generations/1/activate").status == 404


def test_draining_is_seen(lab):
    """Goal: a generation with a request that is still with its policy is draining, and kept afterwards."""
    gate = threading.Event()
    up = lab.upstream(actions.answer(200, wire.completion("x"), gate=gate), actions.ok())
    gw = lab.failover({"p": up})
    with gw.open_chat(stream=False) as c:
        wait_until(lambda: gw.facts("p/p-model").get("inflight") == 1)
        edit(gw, "p-model", "other")
        load(gw)
        assert states(gw) == {2: "active", 1: "draining"}
        assert {g["id"]: g["references"] > 0 for g in generations(gw)["generations"]}[1]
        gate.set()
        assert c.read().status == 200
    wait_until(lambda: states(gw) == {2: "active", 1: "kept"})


def test_what_only_a_restart_can_change(gw):
    """Goal: such a change is refused with words, and the rest of the file with it."""
    edit(gw, '["workers"] = 2', '["workers"] = 1')
    status, told = load(gw)
    assert status == 422 and "workers" in told["diagnostics"][0]["message"]


def test_status_tells_of_policies(lab):
    """Goal: a policy that keeps failing is switched off, and the status says so and why."""
    gw = lab.policy({"p": lab.upstream(actions.ok())}, 'error("broken on purpose")')
    for _ in range(10):
        assert gw.chat().status == 200
    policy, = gw.api("GET", "/admin/status").json()["policies"]
    assert (policy["policy"], policy["state"], policy["errors"]) == ("own", "switched_off", 10)
    assert "broken on purpose" in policy["reason"]
    assert gw.api("GET", "/admin/status", token=ADMIN_TOKEN).json()["watch"] is False
