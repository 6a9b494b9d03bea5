# SPDX-License-Identifier: MIT
"""Suspending and resuming targets through the admin API."""
import json
import signal

import pytest
from support import actions


@pytest.fixture
def gw(lab):
    p, q = lab.upstream(actions.ok("from p")), lab.upstream(actions.ok("from q"))
    p.options = {"quota_group": "shared"}
    return lab.failover({"p": p, "q": q}, config={"state_dir": "state"})


def suspend(gw, target="p%2Fp-model", body=None):
    return gw.api("POST", f"/admin/targets/{target}/suspend", body)


def resume(gw, target="p%2Fp-model"):
    return gw.api("POST", f"/admin/targets/{target}/resume")


@pytest.mark.parametrize("name", ["p%2Fp-model", "p/p-model", "%70%2fp%2Dmodel"])
def test_suspend_and_resume(gw, name):
    """Goal: the very next request of any worker knows, however the name is written."""
    answer = suspend(gw, name, {"seconds": 600, "reason": "maintenance"})
    assert answer.status == 200, answer.body
    told = answer.json()
    assert (told["ok"], told["target"], told["persistent"], told["until_resumed"]) == (True, "p/p-model", True, False)
    assert 599 < told["suspended_for"] <= 600
    assert [gw.chat().text for _ in range(8)] == ["from q"] * 8
    assert gw.facts("p/p-model")["reason"] == "maintenance" and gw.suspended("p/p-model")
    assert resume(gw, name).json() == {"ok": True, "target": "p/p-model", "persistent": True}
    assert [gw.chat().text for _ in range(8)] == ["from p"] * 8


def test_until_resumed(gw):
    """Goal: without seconds it lasts until it is resumed, and outlives a kill -9 right after the answer."""
    told = suspend(gw).json()
    assert told["until_resumed"] is True and told["suspended_for"] > 86400 * 365
    gw.signal(signal.SIGKILL)
    gw.wait_exit()
    (gw.folder / "stderr").unlink()
    gw.start()
    facts = gw.facts("p/p-model")
    assert facts["until_resumed"] is True and facts["reason"] == "admin"
    assert gw.chat().text == "from q"
    resume(gw)
    gw.signal(signal.SIGKILL)
    gw.wait_exit()
    (gw.folder / "stderr").unlink()
    gw.start()
    assert not gw.suspended("p/p-model") and gw.chat().text == "from p"


def test_the_later_end_stays(gw):
    """Goal: a shorter suspension does not shorten the one there is; the answer tells what counts."""
    suspend(gw, body={"seconds": 600})
    assert suspend(gw, body={"seconds": 1}).json()["suspended_for"] > 500


def test_group(gw):
    """Goal: with `group` every target of the quota group is left alone; without, that one only."""
    suspend(gw, body={"seconds": 60})
    assert not gw.facts("p/another").get("suspended_for")
    resume(gw)
    suspend(gw, body={"seconds": 60, "group": True})
    saved = json.loads((gw.folder / "state/suspensions.json").read_text())["suspended"]
    assert [(s["name"], s["group"]) for s in saved] == [("shared", True)]
    assert gw.chat().text == "from q"
    resume(gw)
    assert gw.chat().text == "from p"
    answer = suspend(gw, "q%2Fq-model", {"group": True})
    assert (answer.status, answer.json()["error"]["code"]) == (422, "no_quota_group")


@pytest.mark.parametrize("name, said", [("pp%2Fm", "did you mean 'p'?"), ("unknown%2Fm", "no provider 'unknown'"), ("%2Fm", "no provider"),
                                        ("p%2F" + "x" * 600, "too long")])
def test_unknown_providers(gw, name, said):
    """Goal: a target of no provider is a 404, and is suspended nowhere."""
    for answer in (suspend(gw, name), resume(gw, name)):
        assert (answer.status, answer.json()["error"]["code"]) == (404, "unknown_provider")
        assert said in answer.json()["error"]["message"], answer.body
    assert [e["result"] for e in gw.audit()] == ["refused"] * 2


def test_names_with_many_slashes(gw):
    """Goal: a model's own slashes are part of its name, even where it ends like a call."""
    for name in ("p/org/model", "p/org/suspend", "p/a/resume"):
        assert suspend(gw, name).json()["target"] == name
        assert gw.suspended(name)
        assert resume(gw, name).json()["target"] == name


def test_audit(gw):
    """Goal: each has its line, with what was and what is."""
    suspend(gw, body={"seconds": 60, "reason": "r", "why": "w"})
    suspend(gw, body={"seconds": "x"})
    resume(gw)
    first, refused, last = gw.audit()
    assert (first["action"], first["object"], first["why"], first["result"]) == ("suspend", "p/p-model", "w", "applied")
    assert first["before"]["suspended_for"] == 0 and first["after"]["reason"] == "r" and first["after"]["suspended_for"] > 59
    assert (refused["action"], refused["result"]) == ("suspend", "refused")
    assert (last["action"], last["after"]) == ("resume", {"suspended_for": 0, "reason": ""})
