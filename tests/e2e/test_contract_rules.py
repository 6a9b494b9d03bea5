# SPDX-License-Identifier: MIT
"""The admin API, sentence by sentence of what is promised: who may, what is shown, how settings change, what is undone, what is left in writing."""
import concurrent.futures
import json
import os
import re
import threading
import time

import pytest
from support import actions, storm, wire
from support.client import call
from support.gateway import ADMIN_TOKEN
from support.rules import ADMIN, READ_TOKEN, Rules, check_refusal
from support.storm import Storm
from support.waiting import wait_until


@pytest.fixture
def pair(lab):
    """A gateway with two good providers p and q, the stock policy and a state folder; its admin API as `rules`, they as p and q."""
    p, q = lab.upstream(actions.ok("from p")), lab.upstream(actions.ok("from q"))
    gw = lab.failover({"p": p, "q": q}, {"suspend": 60, "deadline": 90}, config={"admin": ADMIN, "state_dir": "state"})
    gw.rules, gw.p, gw.q = Rules(gw), p, q
    return gw


def error_of(answer, status, code=None):
    assert answer.status == status, (answer.status, answer.body)
    error = answer.json()["error"]
    assert isinstance(error["code"], str) and isinstance(error["message"], str) and error["message"]
    if code:
        assert error["code"] == code, error
    return error


CHANGES = [
    ("PUT", "/admin/routes/chat/settings", {"suspend": 1}), ("DELETE", "/admin/routes/chat/settings", None),
    ("DELETE", "/admin/routes/chat/settings/suspend", None), ("POST", "/admin/routes/chat/failover", {"enabled": False}),
    ("POST", "/admin/reload", None), ("POST", "/admin/check", None), ("POST", "/admin/generations/1/activate", None),
    ("POST", "/admin/targets/p/p-model/suspend", {"seconds": 60}), ("POST", "/admin/targets/p/p-model/resume", None),
]
READS = ["/admin/", "/admin/status", "/admin/targets", "/admin/routes", "/admin/routes/chat", "/admin/routes/chat/settings", "/admin/generations"]


# Who may.

@pytest.mark.parametrize("token", ["", "wrong", ADMIN_TOKEN[:-1], ADMIN_TOKEN + "x", ADMIN_TOKEN.upper(), READ_TOKEN + "x"])
def test_no_call_without_a_token(pair, token):
    """Goal: every call under /admin/ is a 401 without a token of the two, and does nothing."""
    for method, path, body in [*CHANGES, *(("GET", path, None) for path in ["/admin", *READS])]:
        error_of(pair.rules.call(method, path, body, token=token), 401)
        error_of(pair.rules.call(method, f"{path}?token={ADMIN_TOKEN}", body, token=token), 401)
    assert pair.rules.active == 1 and pair.rules.settings()["overlay"] == {}


def test_read_only_token(pair):
    """Goal: the read-only token reads everything and changes nothing: 403 read_only_token."""
    for path in READS:
        assert pair.rules.call("GET", path, token=READ_TOKEN).status == 200, path
    for method, path, body in CHANGES:
        error_of(pair.rules.call(method, path, body, token=READ_TOKEN), 403, "read_only_token")
    assert pair.rules.active == 1 and pair.rules.settings()["overlay"] == {} and not pair.suspended("p/p-model")
    assert not any(r["result"] == "applied" and r["action"] in ("settings", "suspend") for r in pair.rules.audit())


def test_tokens_are_in_no_answer(pair):
    """Goal: no answer, log or state file carries a token or a key."""
    pair.rules.set({"suspend": 5})
    said = "".join(pair.rules.call("GET", path).body.decode() for path in READS) + pair.stderr + pair.stdout
    said += "".join(f.read_text() for f in (pair.folder / "state").iterdir() if f.is_file())
    for secret in (ADMIN_TOKEN, READ_TOKEN, "sk-provider"):
        assert secret not in said


def test_index_lists_every_call(pair):
    """Goal: GET /admin/ names each call that there is, with its method and what it is for."""
    calls = {(c["method"], c["path"]) for c in pair.rules.get("/admin/")["calls"]}
    assert all(c["summary"] for c in pair.rules.get("/admin/")["calls"])
    assert pair.rules.get("/admin") == pair.rules.get("/admin/")

    def generic(path):
        return re.sub(r"/\{[^}]*\}", "/{}", path)
    known = {(m, generic(p)) for m, p in calls}
    for method, path in [("GET", p) for p in READS] + [(m, p) for m, p, _ in CHANGES]:
        path = re.sub(r"/chat", "/{}", re.sub(r"/settings/suspend$", "/settings/{}", re.sub(r"/p/p-model", "/{}", re.sub(r"/1/", "/{}/", path))))
        assert (method, path) in known, (method, path, known)


def test_unknown_things(pair):
    """Goal: what is not there is a 404 and a wrong method a 405 (or 404), both as JSON."""
    for method, path, body in [("GET", "/admin/routes/nobody", None), ("PUT", "/admin/routes/nobody/settings", {}),
                               ("DELETE", "/admin/routes/nobody/settings", None), ("GET", "/admin/routes/nobody/settings", None),
                               ("POST", "/admin/generations/77/activate", None), ("POST", "/admin/generations/x/activate", None),
                               ("POST", "/admin/targets/nobody/x/suspend", None), ("POST", "/admin/targets/nobody/x/resume", None),
                               ("GET", "/admin/nothing", None), ("POST", "/admin/routes/nobody/failover", {"enabled": True})]:
        error_of(pair.rules.call(method, path, body), 404)
    assert pair.rules.call("DELETE", "/admin/status").status in (404, 405)


# What is shown.

def test_targets_tell_facts(lab):
    """Goal: suspension with its reason, the breaker's state, and the last error with its time."""
    p, q = lab.upstream(actions.fail(500, "the provider's words")), lab.upstream(actions.ok())
    gw = lab.failover({"p": p, "q": q}, {"suspend": 60, "breaker": {"failures": 1, "recovery": 60}}, config={"admin": ADMIN})
    gw.chat()
    facts, other = gw.facts("p/p-model"), gw.facts("q/q-model")
    assert 0 < facts["suspended_for"] <= 60 and facts["reason"] and facts["breaker"] == "open" and facts["up"] is True
    assert facts["last_error"] and re.match(r"\d{4}-\d\d-\d\dT", facts["last_error_at"])
    assert other["suspended_for"] == 0 and other["breaker"] == "closed" and not other["last_error"]


def test_status_tells_policies(lab):
    """Goal: status shows each policy with its state and figures, and whether files are watched."""
    gw = lab.policy({"p": lab.upstream(actions.ok())}, "if req.path == '/v1/bad' then error('x') end return req:send('p/x')", config={"admin": ADMIN})
    gw.chat()
    gw.chat(target="/v1/bad")
    status = Rules(gw).get("/admin/status")
    assert status["watch"] is False and status["generation"] == 1
    policy = next(p for p in status["policies"] if "own" in p["policy"])
    assert (policy["state"], policy["calls"], policy["errors"], policy["kills"]) == ("running", 2, 1, 0)


def test_failing_policy_is_switched_off_and_says_so(lab):
    """Goal: a policy that keeps failing is switched to the default plan for its generation, which status tells; the next generation begins anew."""
    gw = lab.policy({"p": lab.upstream(actions.ok())}, "error('always')", config={"admin": ADMIN})
    rules = Rules(gw)

    def own():
        return next(p for p in rules.get("/admin/status")["policies"] if "own" in p["policy"])
    for _ in range(15):
        assert gw.chat().status == 200, "the default plan answers"
    assert own()["state"] == "switched_off" and own()["reason"] and own()["errors"] == 10
    assert gw.metric("moongate_policy_switched_off") == 1
    gw.write("policies/own.lua", (gw.folder / "policies/own.lua").read_text().replace("error('always')", "return req:send('p/mended')"))
    rules.apply()
    assert own()["state"] == "running" and gw.chat().trail[0][0] == "p/mended"


def test_routes_tell_schema_and_values(pair):
    """Goal: a route shows its policy, the schema of its settings, and each value with where it comes from: file, overlay or default."""
    pair.rules.set({"suspend": 7, "retries": 2})
    route = pair.rules.get("/admin/routes")["routes"][0]
    assert route == pair.rules.get("/admin/routes/chat")
    assert (route["name"], route["path"], route["policy"], route["policy_version"]) == ("chat", "/v1/*", "failover", 1)
    assert route["failover"] is True and route["dialect"] == "openai" and route["on_error"] == "default_plan"
    schema, values = route["schema"], route["settings"]
    assert schema["suspend"]["type"] == "number" and schema["suspend"]["min"] == 0 and schema["suspend"]["help"] and schema["suspend"]["unit"]
    assert "values" in schema["order"] and set(values) <= set(schema)
    assert values["suspend"] == {"value": 7, "source": "overlay", "file": 60}
    assert (values["deadline"]["value"], values["deadline"]["source"]) == (90, "file")
    assert (values["retries"]["value"], values["retries"]["source"]) == (2, "overlay") and values["retries"].get("file") is None
    assert (values["request_timeout"]["value"], values["request_timeout"]["source"]) == (60, "default")


# How settings change.

def test_settings_are_replaced_as_a_whole(pair):
    """Goal: PUT replaces the route's overlay, which counts from the next request; DELETE of a key drops that, DELETE drops all; versions rise."""
    rules = pair.rules
    before = rules.settings()
    assert before["route"] == "chat" and before["overlay"] == {} and before["version"] == 0
    assert before["effective"]["suspend"] == 60 and before["effective"]["request_timeout"] == 60
    one = rules.set({"targets": ["q/other"], "deadline": 33})
    assert one["persistent"] is True and one["version"] > 0 and one["active"] > 1
    assert pair.chat().trail[0][0] == "q/other"
    two = rules.set({"targets": ["p/third", "q/x"]})
    assert two["version"] > one["version"] and pair.chat().trail[0][0] == "p/third"
    now = rules.settings()
    assert now["overlay"] == {"targets": ["p/third", "q/x"]} and now["version"] == two["version"] and now["effective"]["deadline"] == 90
    rules.set({"targets": ["p/third"], "suspend": 3})
    assert rules.call("DELETE", "/admin/routes/chat/settings/targets").status == 200
    assert rules.settings()["overlay"] == {"suspend": 3} and pair.chat().trail[0][0] == "p/p-model"
    dropped = rules.call("DELETE", "/admin/routes/chat/settings")
    assert dropped.status == 200 and dropped.json()["version"] > two["version"]
    assert rules.settings()["overlay"] == {} and rules.settings()["effective"] == before["effective"]
    assert (pair.folder / "gateway.lua").read_text().count("q/other") == 0, "the file is the admin's own"


REFUSED = {
    "type": ({"suspend": "soon"}, "suspend"),
    "range": ({"suspend": -1}, "suspend"),
    "unknown": ({"suspent": 5}, "suspend"),
    "target": ({"targets": ["nobody/x"]}, "nobody"),
    "empty": ({"targets": []}, "targets"),
    "two": ({"suspend": -1, "retries": "x"}, "retries"),
    "nested": ({"breaker": {"failure": 3}}, "failure"),
    "enum": ({"order": "alphabetical"}, "order"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_settings_are_validated_first(pair, case):
    """Goal: a value that the schema or the check refuses is a 422 with what is wrong; overlay, version, generation and traffic are as they were."""
    bad, word = REFUSED[case]
    version = pair.rules.set({"suspend": 9})["version"]
    active = pair.rules.active
    answer = pair.rules.put(bad)
    assert answer.status == 422, answer.body
    diagnostics = check_refusal(answer.json())
    assert word in json.dumps(diagnostics)
    if case == "two":
        assert any("suspend" in d["message"] for d in diagnostics)
    now = pair.rules.settings()
    assert (now["overlay"], now["version"], pair.rules.active) == ({"suspend": 9}, version, active)
    assert pair.chat().text == "from p"
    assert json.loads((pair.folder / "state/settings.json").read_text())["routes"]["chat"]["settings"] == {"suspend": 9}


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"{", b'{"suspend":1', b"null", b'{"suspend":1}x', b"\xff\xfe",
                                  b'{"a":' * 500 + b"1" + b"}" * 500])
def test_bodies_that_are_no_settings(pair, body):
    """Goal: what is no JSON object is a 400 (or a 422 of the checks), and changes nothing."""
    answer = pair.rules.put(body, headers={"Content-Type": "application/json"})
    assert answer.status in (400, 413, 422), answer.body
    assert pair.rules.settings()["overlay"] == {} and pair.rules.active == 1 and pair.chat().status == 200


def test_if_match(pair):
    """Goal: the ETag of a reading lets the change pass; an old one is a 412 that tells the version; * and none pass always."""
    rules = pair.rules
    first = rules.etag()
    assert first == rules.call("GET", "/admin/routes/chat").header("etag") and re.fullmatch(r'"\d+"', first)
    assert rules.put({"suspend": 1}, if_match=first).status == 200
    now = rules.settings()["version"]
    assert rules.etag() == f'"{now}"' != first
    for method, path in [("PUT", ""), ("DELETE", ""), ("DELETE", "/suspend")]:
        answer = rules.call(method, f"/admin/routes/chat/settings{path}", {"suspend": 2} if method == "PUT" else None, {"If-Match": first})
        error_of(answer, 412)
        assert answer.json()["version"] == now
    assert rules.settings()["overlay"] == {"suspend": 1} and rules.settings()["version"] == now
    for garbage in ('"x"', "nonsense", '"99999999999999999999999"', '""'):
        assert rules.put({"suspend": 3}, if_match=garbage).status in (400, 412), garbage
    assert rules.settings()["overlay"] == {"suspend": 1}
    assert rules.put({"suspend": 4}, if_match="*").status == 200 and rules.put({"suspend": 5}).status == 200


def test_of_two_changes_at_once_one_wins(pair):
    """Goal: of several PUTs at the same time with the same If-Match exactly one is applied, the others are 412; over and over."""
    rules = pair.rules
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for turn in range(10):
            etag, barrier = rules.etag(), threading.Barrier(4)

            def put(n):
                barrier.wait()
                return n, rules.put({"suspend": 100 * turn + n}, if_match=etag)
            answers = dict(pool.map(put, range(1, 5)))
            statuses = sorted(a.status for a in answers.values())
            assert statuses == [200, 412, 412, 412], statuses
            winner = next(n for n, a in answers.items() if a.status == 200)
            assert rules.settings()["overlay"] == {"suspend": 100 * turn + winner}
            assert rules.settings()["version"] == answers[winner].json()["version"]


def test_overlay_survives(pair):
    """Goal: reloads of other files, kill -9, a start and a clean stop leave the overlay as it was, with its version."""
    rules = pair.rules
    version = rules.set({"targets": ["q/kept"]})["version"]
    text = (pair.folder / "gateway.lua").read_text()
    pair.write("gateway.lua", text.replace('["deadline"] = 90', '["deadline"] = 91'))
    rules.apply()
    assert pair.chat().trail[0][0] == "q/kept" and rules.settings()["effective"]["deadline"] == 91
    pair.kill()
    pair.start()
    assert pair.chat().trail[0][0] == "q/kept" and rules.settings()["version"] == version
    pair.stop()
    pair.put_aside()
    pair.start()
    assert rules.settings()["overlay"] == {"targets": ["q/kept"]} and rules.settings()["version"] == version
    assert rules.put({}, if_match=f'"{version}"').status == 200
    assert pair.chat().trail[0][0] == "p/p-model" and rules.settings()["version"] > version


def test_settings_file(pair):
    """Goal: state_dir/settings.json has the documented shape, is the process's own to read, and nothing temporary stays beside it."""
    pair.rules.set({"suspend": 3})
    path = pair.folder / "state/settings.json"
    value = json.loads(path.read_text())
    assert value["format"] == 1 and value["version"] >= value["routes"]["chat"]["version"] > 0
    assert value["routes"]["chat"]["settings"] == {"suspend": 3}
    assert [f.name for f in path.parent.iterdir() if "settings" in f.name] == ["settings.json"]


def test_overlay_without_a_state_folder(lab):
    """Goal: changes work, and say that they do not persist."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"admin": ADMIN})
    made = Rules(gw).set({"targets": ["p/changed"]})
    assert made["persistent"] is False and gw.chat().trail[0][0] == "p/changed"


def test_state_folder_that_cannot_be_written(pair):
    """Goal: a change that cannot be written is refused and not in force."""
    if os.geteuid() == 0:
        (pair.folder / "state").rename(pair.folder / "away")
        (pair.folder / "state").write_text("no folder")
    else:
        (pair.folder / "state").chmod(0o500)
    answer = pair.rules.put({"targets": ["q/x"]})
    assert answer.status >= 500, answer.body
    assert pair.chat().text == "from p" and pair.rules.settings()["overlay"] == {} and pair.rules.active == 1


def test_overlay_that_a_new_policy_refuses(lab):
    """Goal: a policy whose schema has no place for an overlaid key is refused: the diagnostic names the overlay's file and the way out, which works."""
    text = """return {
  name = "own", version = 1,
  settings = { %s = { type = "integer", default = 1, help = "of the test" } },
  handle = function(req, settings) return req:respond { json = { value = settings.%s } } end,
}
"""
    gw = lab.gateway({"admin": ADMIN, "state_dir": "state", "providers": {}, "routes": [{"name": "chat", "path": "/v1/*", "policy": "own"}]},
                     policies={"own": text % ("size", "size")}).start()
    rules = Rules(gw)
    rules.set({"size": 5})
    assert gw.chat().json() == {"value": 5}
    gw.write("policies/own.lua", text % ("width", "width"))
    diagnostic = next(d for d in rules.refused() if d["file"].endswith("settings.json"))
    assert "moongate unset chat size" in diagnostic["message"], diagnostic
    assert gw.chat().json() == {"value": 5}
    assert rules.call("DELETE", "/admin/routes/chat/settings/size").status in (200, 422)
    assert rules.reload()[0] == 200 and gw.chat().json() == {"value": 1}


def test_overlay_of_a_route_that_is_gone(pair):
    """Goal: it is kept and warned of, and counts again when the route is back."""
    rules = pair.rules
    rules.set({"targets": ["q/kept"]})
    text = (pair.folder / "gateway.lua").read_text()
    pair.write("gateway.lua", text.replace('"chat"', '"talk"'))
    status, value = rules.reload()
    assert status == 200 and any("chat" in w["message"] for w in value["warnings"]), value
    assert pair.chat().trail[0][0] == "p/p-model"
    pair.write("gateway.lua", text)
    rules.apply()
    assert pair.chat().trail[0][0] == "q/kept"


def test_failover_is_switched(lab):
    """Goal: failover of a route goes off and on again on a running gateway; a policy without such a setting is a 422."""
    p, q = lab.upstream(actions.fail(500)), lab.upstream(actions.ok("from q"))
    gw = lab.failover({"p": p, "q": q}, config={"admin": ADMIN, "state_dir": "state"})
    rules = Rules(gw)
    assert gw.chat().text == "from q"
    assert rules.call("POST", "/admin/routes/chat/failover", {"enabled": False}).status == 200
    assert gw.chat().status == 500 and rules.get("/admin/routes/chat")["failover"] is False
    assert rules.settings()["overlay"] == {"enabled": False}
    rules.set({"enabled": False, "suspend": 0})
    assert rules.call("POST", "/admin/routes/chat/failover", {"enabled": True}).status == 200
    assert gw.chat().text == "from q" and rules.settings()["overlay"].get("suspend") == 0, "other settings stay"
    for body in ({"enabled": "yes"}, {}, {"enabled": None}):
        assert rules.call("POST", "/admin/routes/chat/failover", body).status in (400, 422), body
    gw = lab.policy({"p": p}, "return req:send('p/x')", config={"admin": ADMIN})
    gw.write("policies/own.lua", "return { name = 'own', version = 1, settings = { targets = { type = 'targets', help = 'x' } }, handle = function(req) return req:send('p/x') end }")
    rules = Rules(gw)
    rules.apply()
    assert rules.get("/admin/routes/chat")["failover"] is None
    assert rules.call("POST", "/admin/routes/chat/failover", {"enabled": False}).status == 422


# Generations.

def test_figures_of_a_generation(lab):
    """Goal: who, when, why, state, references, memory, calls, errors and kills, as they were."""
    gate = threading.Event()
    up = lab.upstream(actions.ok(gate=gate))
    body = """    if req.path == "/v1/error" then error("on purpose") end
    if req.path == "/v1/endless" then while true do end end
    if req.path == "/v1/mine" then return req:respond { json = {} } end
    return req:send("p/x")"""
    gw = lab.policy({"p": up}, body, {"targets": ["p/x"], "deadline": 100}, config={"admin": ADMIN, "workers": 1})
    rules = Rules(gw)
    gate.set()
    for path, times in (("/v1/mine", 3), ("/v1/error", 2), ("/v1/endless", 1)):
        for _ in range(times):
            gw.chat(target=path)
    gate.clear()
    with gw.open_chat(stream=False) as c:
        wait_until(lambda: up.count >= 4, "the request to be under way")
        g = rules.generations()[1]
        assert g["state"] == "active" and g["references"] >= 1 and g["memory"] > 10000
        assert (g["calls"], g["errors"], g["kills"]) == (7, 2, 1) and "start" in g["who"] and len(g["hash"]) >= 16
        gate.set()
        assert c.read().status == 200
    gw.write("policies/own.lua", (gw.folder / "policies/own.lua").read_text() + "-- edited\n")
    made = rules.apply("for the figures")
    new = rules.generations()[made]
    assert (new["calls"], new["errors"], new["kills"]) == (0, 0, 0) and new["why"] == "for the figures" and new["state"] == "active"
    assert new["loaded_at"] >= g["loaded_at"]
    old = rules.generations()[1]
    assert (old["calls"], old["errors"], old["kills"]) == (7, 2, 1), "figures outlive the generation's end"


def test_kills_have_reasons(lab):
    """Goal: a policy that spends its stretch or its memory is told apart in log and metrics."""
    body = """    if req.path == "/v1/endless" then while true do end end
    local t = {}
    for n = 1, 1e7 do t[n] = { n, n } end"""
    gw = lab.policy({"p": lab.upstream(actions.ok())}, body, config={"admin": ADMIN})
    gw.chat(target="/v1/endless")
    assert gw.metric("moongate_policy_kills_total", reason="stretch") == 1
    assert gw.wait_log("stretch")


def test_activate_back_and_forward(lab):
    """Goal: under traffic the generation before becomes active again under its own number, then the later one; each answer is of one of them."""
    gw, over = storm.start(lab, state_dir="state")
    with Storm(gw, rate=200, streams=4, over=over) as s:
        s.reload(1, broken=False)
        first, second = 1, s.rules.active
        for wanted in (first, second, first, second, first):
            answer = s.rules.activate(wanted)
            assert answer.status == 200 and answer.json()["ok"] is True and answer.json()["active"] == wanted
            assert gw.chat(model="m1").json()["seen"][0] == (0 if wanted == first else 1)
            states = {i: g["state"] for i, g in s.rules.generations().items()}
            assert states[wanted] == "active" and list(states.values()).count("active") == 1, states
    assert not s.problems, s.problems[:5]
    s.check_log(others=5)
    records = [r for r in s.rules.audit() if r["action"] == "activate"]
    assert len(records) == 5 and {r["result"] for r in records} == {"applied"}


def test_activate_brings_the_settings_of_then(pair):
    """Goal: the overlay is part of a generation: rolled back with it, written to the disk, and still so after a kill."""
    rules = pair.rules
    one = rules.set({"targets": ["q/one"]})
    two = rules.set({"targets": ["q/two"], "suspend": 5})
    assert rules.activate(one["active"]).status == 200
    assert pair.chat().trail[0][0] == "q/one" and rules.settings()["overlay"] == {"targets": ["q/one"]}
    assert rules.settings()["version"] > two["version"], "a version is never given twice"
    assert rules.put({"suspend": 1}, if_match=f'"{one["version"]}"').status == 412
    pair.kill()
    pair.start()
    assert pair.chat().trail[0][0] == "q/one" and rules.settings()["overlay"] == {"targets": ["q/one"]}
    assert rules.settings()["version"] > two["version"]


def test_activate_needs_no_files(pair):
    """Goal: a rollback is of the kept snapshot, whatever has become of the files; a reload afterwards reads them again."""
    rules = pair.rules
    text = (pair.folder / "gateway.lua").read_text()
    pair.write("gateway.lua", text.replace("p/p-model", "p/new"))
    assert rules.apply() == 2 and pair.chat().trail[0][0] == "p/new"
    pair.write("gateway.lua", "this is broken")
    assert rules.activate(1).status == 200 and pair.chat().trail[0][0] == "p/p-model"
    rules.refused()
    assert pair.chat().trail[0][0] == "p/p-model"
    pair.write("gateway.lua", text.replace("p/p-model", "p/new"))
    assert rules.reload()[0] == 200 and pair.chat().trail[0][0] == "p/new"


def test_check_changes_nothing(pair):
    """Goal: POST /admin/check tells what a reload would say, and applies nothing."""
    rules = pair.rules
    answer = rules.call("POST", "/admin/check")
    assert answer.status == 200 and answer.json()["ok"] is True and answer.json()["active"] == 1 and answer.json()["warnings"] == []
    text = (pair.folder / "gateway.lua").read_text()
    pair.write("gateway.lua", text.replace("p/p-model", "p/new"))
    assert rules.call("POST", "/admin/check").status == 200
    assert rules.active == 1 and pair.chat().trail[0][0] == "p/p-model"
    pair.write("gateway.lua", text.replace('["suspend"]', '["suspent"]'))
    answer = rules.call("POST", "/admin/check")
    assert answer.status == 422 and "suspend" in json.dumps(check_refusal(answer.json())) and answer.json()["active"] == 1
    assert pair.chat().status == 200 and list(rules.generations()) == [1]


# Targets.

@pytest.mark.parametrize("form", ["p/p-model", "p%2Fp-model"])
def test_suspend_and_resume(pair, form):
    """Goal: a target is taken out by hand for some seconds, with a reason, and put back; the next request obeys."""
    answer = pair.rules.call("POST", f"/admin/targets/{form}/suspend", {"seconds": 300, "reason": "maintenance"})
    assert answer.status == 200 and answer.json()["ok"] is True and answer.json()["target"] == "p/p-model"
    assert 290 < answer.json()["suspended_for"] <= 300
    assert pair.chat().text == "from q" and pair.p.count == 0
    assert 290 < pair.facts("p/p-model")["suspended_for"] <= 300 and "maintenance" in pair.facts("p/p-model")["reason"]
    answer = pair.rules.call("POST", f"/admin/targets/{form}/resume")
    assert answer.status == 200 and answer.json()["ok"] is True and answer.json()["target"] == "p/p-model"
    assert pair.chat().text == "from p" and pair.facts("p/p-model")["suspended_for"] == 0


def test_suspend_without_an_end(pair):
    """Goal: without seconds it holds until it is resumed, over reloads and kill -9."""
    assert pair.rules.call("POST", "/admin/targets/p/p-model/suspend").status == 200
    pair.write("gateway.lua", (pair.folder / "gateway.lua").read_text() + "-- edited\n")
    pair.rules.apply()
    assert pair.chat().text == "from q"
    pair.kill()
    pair.start()
    assert pair.chat().text == "from q" and pair.facts("p/p-model")["suspended_for"] > 86400
    assert pair.rules.call("POST", "/admin/targets/p/p-model/resume").status == 200
    pair.kill()
    pair.start()
    assert pair.chat().text == "from p"


def test_suspend_a_group(lab):
    """Goal: with "group" all providers of the quota group are out."""
    p, q, r = (lab.upstream(actions.ok(f"from {n}")) for n in "pqr")
    p.options = q.options = {"quota_group": "org"}
    gw = lab.failover({"p": p, "q": q, "r": r}, config={"admin": ADMIN})
    assert Rules(gw).call("POST", "/admin/targets/p/p-model/suspend", {"seconds": 60, "group": True}).status == 200
    assert gw.chat().text == "from r"
    assert Rules(gw).call("POST", "/admin/targets/p/p-model/resume").status == 200
    assert gw.chat().text == "from p"


@pytest.mark.parametrize("body", [{"seconds": -1}, {"seconds": "x"}, {"reason": 5}, {"group": "yes"}, {"secnods": 5}, []])
def test_suspend_checks_its_body(pair, body):
    """Goal: nonsense is a 400 or 422 and suspends nothing."""
    assert pair.rules.call("POST", "/admin/targets/p/p-model/suspend", body).status in (400, 422)
    assert not pair.suspended("p/p-model") and pair.chat().text == "from p"


# What is left in writing.

def test_audit_log(pair):
    """Goal: each change, refused ones too, is a line that tells who, when, what, before, after and how it ended."""
    rules = pair.rules
    began = time.time()
    rules.put({"suspend": 11}, headers={"X-Moongate-Why": "a quiet night"})
    rules.put({"suspend": 22})
    rules.put({"suspend": -1})
    rules.put({"suspend": 33}, if_match='"1"')
    rules.call("DELETE", "/admin/routes/chat/settings")
    rules.call("POST", "/admin/targets/p/p-model/suspend", {"seconds": 60, "reason": "maintenance"})
    rules.call("POST", "/admin/targets/p/p-model/resume")
    pair.write("gateway.lua", "broken")
    rules.refused()
    rules.activate(1)
    records = rules.audit()
    for r in records:
        assert {"time", "who", "action", "object", "before", "after", "result", "generation"} <= set(r), r
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", r["time"]) and r["who"]
    assert time.strftime("%Y-%m-%d", time.gmtime(began)) in records[-1]["time"] or records[-1]["time"] > time.strftime("%Y-%m-%d", time.gmtime(began))
    settings = [r for r in records if "settings" in r["action"]]
    assert [r["result"] for r in settings][:5] == ["applied", "applied", "refused", "conflict", "applied"], settings
    assert all("chat" in r["object"] and "127.0.0.1" in r["who"] for r in settings)
    assert settings[0].get("why") == "a quiet night"
    assert settings[1]["before"] == {"suspend": 11} and settings[1]["after"] == {"suspend": 22}
    assert settings[4]["before"] == {"suspend": 22} and not settings[4]["after"]
    rest = [(r["action"], r["result"]) for r in records if r not in settings]
    for wanted in (("suspend", "applied"), ("resume", "applied"), ("reload", "refused"), ("activate", "applied")):
        assert wanted in rest, (wanted, rest)
    assert [r["object"] for r in records if r["action"] == "suspend"] == ["p/p-model"]


def test_audit_log_has_no_secrets(pair):
    """Goal: a setting that carries a key is masked there, as in every answer."""
    rules = pair.rules
    rules.put({"targets": [{"target": "p/p-model", "headers": {"x-extra": "sk-provider-p"}}]})
    rules.put({"suspend": 5}, headers={"X-Moongate-Why": f"the token is {ADMIN_TOKEN}"})
    rules.call("POST", "/admin/targets/p/p-model/suspend", {"seconds": 5, "reason": "key sk-provider-q ran out"})
    text = rules.audit_text() + pair.stderr + "".join(rules.call("GET", p).body.decode() for p in READS)
    for secret in ("sk-provider-p", "sk-provider-q", ADMIN_TOKEN, READ_TOKEN):
        assert secret not in text, secret
    assert rules.audit()


def test_audit_without_a_state_folder(lab):
    """Goal: the same line goes to the error log."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"admin": ADMIN})
    Rules(gw).set({"suspend": 5})
    assert "settings" in gw.wait_log(r"suspend.*5")


def test_reasons_by_query(pair):
    """Goal: `why` is taken from the query, too, and kept with the generation."""
    answer = pair.rules.call("PUT", "/admin/routes/chat/settings?why=a%20quiet%20night", {"suspend": 5})
    assert answer.status == 200
    assert pair.rules.generations()[answer.json()["active"]]["why"] == "a quiet night"


def test_changes_break_no_stream(lab):
    """Goal: a stream that flows goes on, whole, while settings change, targets are suspended and generations are activated."""
    gate = threading.Event()
    up = lab.upstream(actions.stream(wire.delta("one "), gate, wire.delta("two"), wire.finish(), wire.DONE), actions.ok())
    gw = lab.failover({"p": up}, config={"admin": ADMIN, "state_dir": "state"})
    rules = Rules(gw)
    with gw.open_chat() as c:
        answer = c.start()
        first = answer.next_event()
        for n in range(8):
            rules.set({"suspend": n + 1})
        assert rules.activate(rules.active - 2).status == 200
        assert rules.call("POST", "/admin/targets/p/p-model/suspend", {"seconds": 60}).status == 200
        gate.set()
        assert wire.text_of([first, *answer.events()]) == "one two" and answer.clean


def test_metrics_and_health_as_before(pair):
    """Goal: /metrics, /healthz and /readyz need no token."""
    for path in ("/metrics", "/healthz", "/readyz"):
        assert call(pair.admin, "GET", path).status == 200
