# SPDX-License-Identifier: MIT
"""SCENARIOS.tsv, group C: pools of keys. Which failures go on with the next key, and what is left alone how long."""
from dataclasses import dataclass

import pytest
from support import actions
from support.waiting import wait_until

KEYS = [{"name": "a", "secret": "sk-pool-key-one"}, {"name": "b", "secret": "sk-pool-key-two"}]
SECRETS = {f"sk-pool-key-{word}": name for word, name in (("one", "a"), ("two", "b"), ("three", "c"))}


@dataclass
class OpenAI:
    name = "openai"
    path = "/v1/chat/completions"
    overloaded = (529, "overloaded_error", None)
    quota = (429, "insufficient_quota", "insufficient_quota")
    missing = (404, "invalid_request_error", "model_not_found")

    def key(self, request):
        return (request.header("authorization") or "").removeprefix("Bearer ")

    def ok(self, text):
        return actions.ok(text)

    def fail(self, status, type, code, **more):
        return actions.fail(status, type=type, code=code, **more)

    def text(self, answer):
        return answer.text


class Anthropic(OpenAI):
    name = "anthropic"
    path = "/v1/messages"
    quota = (402, "billing_error", None)
    missing = (404, "not_found_error", None)

    def key(self, request):
        return request.header("x-api-key") or ""

    def ok(self, text):
        return actions.answer(200, {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
            "stop_sequence": None, "content": [{"type": "text", "text": text}],
            "usage": {"input_tokens": 3, "output_tokens": 5}})

    def fail(self, status, type, code, **more):
        return actions.answer(status, {"type": "error", "error": {"type": type, "message": f"status {status}"}}, **more)

    def text(self, answer):
        return answer.json()["content"][0]["text"]


DIALECTS = [OpenAI(), Anthropic()]


@pytest.fixture(params=DIALECTS, ids=[d.name for d in DIALECTS])
def dialect(request):
    return request.param


def pool(lab, dialect, by, keys=KEYS, settings=None, **more):
    """A gateway over a provider with several keys; by[name] answers what comes with that key, in turn."""
    taken = {name: 0 for name in by}

    def act(call):
        name = SECRETS[dialect.key(call.request)]
        script = by[name]
        taken[name] += 1
        script[min(taken[name], len(script)) - 1](call)
    p = lab.upstream(act)
    gw = lab.failover({"p": p}, {"targets": ["p/m"], **(settings or {})},
                      {"api_key": None, "api_keys": keys, "dialect": dialect.name}, **more)
    return gw, p, taken


def ask(gw, dialect):
    return gw.chat(target=dialect.path, max_tokens=100)


def left(gw, name):
    """Seconds for which it is left alone."""
    return gw.facts(name)["suspended_for"]


def used(gw, answer):
    return [a.get("api_key") for a in gw.entry(answer)["attempts"]]


def test_C01_dead_key(lab, dialect):
    """Goal: moving off a dead key costs no retry, and the key is left alone, not its target."""
    gw, _, taken = pool(lab, dialect, {"a": [dialect.fail(401, "authentication_error", "invalid_api_key")],
                                       "b": [dialect.ok("from b")]})
    answer = ask(gw, dialect)
    assert (answer.status, dialect.text(answer), taken) == (200, "from b", {"a": 1, "b": 1})
    assert used(gw, answer) == ["a", "b"]
    assert left(gw, "p#a") > 60 and left(gw, "p/m") == 0
    assert ask(gw, dialect).status == 200 and taken == {"a": 1, "b": 2}


@pytest.mark.parametrize("retries", [0, 3])
def test_C02_unknown_model(lab, dialect, retries):
    """Goal: each key is asked once, and the provider's 404 is passed on."""
    missing = dialect.fail(*dialect.missing)
    gw, _, taken = pool(lab, dialect, {"a": [missing], "b": [missing]}, settings={"retries": retries})
    answer = ask(gw, dialect)
    assert (answer.status, taken) == (404, {"a": 1, "b": 1})
    assert answer.json()["error"]["type"] == dialect.missing[1]
    assert left(gw, "p#a") == 0


def test_C04_all_keys_refused(lab, dialect):
    """Goal: a 502 that says whose credentials they are, never a 401; then the pool is left alone."""
    refused = dialect.fail(401, "authentication_error", "invalid_api_key")
    gw, _, taken = pool(lab, dialect, {"a": [refused], "b": [refused]}, settings={"retries": 3})
    answer = ask(gw, dialect)
    assert (answer.status, taken) == (502, {"a": 1, "b": 1})
    assert "credentials" in answer.json()["error"]["message"]
    assert b"sk-pool" not in answer.body
    answer = ask(gw, dialect)
    assert answer.status == 503 and int(answer.header("retry-after")) > 60


def test_C05_spent_quota(lab, dialect):
    """Goal: the next key at once, and a spent quota is told as what it is, whatever status it came with."""
    gw, p, taken = pool(lab, dialect, {"a": [dialect.fail(*dialect.quota)], "b": [dialect.ok("from b")]},
                        settings={"backoff": {"base": 30, "jitter": "none"}})
    answer = ask(gw, dialect)
    assert (answer.status, taken) == (200, {"a": 1, "b": 1})
    assert gw.entry(answer)["attempts"][0]["outcome"] in ("quota_exhausted", "credential_error")
    if dialect.name == "openai":
        assert gw.facts("p#a")["reason"] == "quota_exhausted"
    assert answer.elapsed < 30, "without waiting for any back-off"


def test_C07_overload_is_nobodys_key(lab, dialect):
    """Goal: the same key again."""
    gw, _, taken = pool(lab, dialect, {"a": [dialect.fail(*dialect.overloaded), dialect.ok("from a")],
                                       "b": [dialect.ok("from b")]},
                        settings={"retries": 1, "backoff": {"base": 0.01}})
    answer = ask(gw, dialect)
    assert (answer.status, dialect.text(answer), taken) == (200, "from a", {"a": 2, "b": 0})


def test_C08_transport_failures_stay_on_the_key(lab, dialect):
    """Goal: a connection that breaks says nothing about a key."""
    def reset(call):
        call.rst()
    gw, _, taken = pool(lab, dialect, {"a": [reset, dialect.ok("from a")], "b": [dialect.ok("from b")]},
                        settings={"retries": 1, "backoff": {"base": 0.01}})
    answer = ask(gw, dialect)
    assert (answer.status, dialect.text(answer), taken) == (200, "from a", {"a": 2, "b": 0})


def test_C10_the_pair_is_suspended(lab):
    """Goal: the pair of provider and model, not the model's name."""
    p1, p2 = lab.upstream(actions.ok()), lab.upstream(actions.fail(429), actions.ok())
    gw = lab.failover({"p1": p1, "p2": p2}, {"targets": ["p1/same", "p2/same"], "order": "round_robin", "suspend": 30,
                                             "max_attempts": 1})
    assert [gw.chat().status for _ in range(4)] == [200, 429, 200, 200]
    assert (p1.count, p2.count) == (3, 1)


def test_B28_another_key_for_each_try(lab):
    """Goal: with rotate_on = 4xx and 5xx no key is used twice."""
    keys = KEYS + [{"name": "c", "secret": "sk-pool-key-three"}]
    gw, _, taken = pool(lab, OpenAI(), {"a": [actions.fail(429)], "b": [actions.fail(500)], "c": [actions.ok()]},
                        keys=keys, settings={"keys": {"rotate_on": ["4xx", "5xx"]}})
    assert gw.chat().status == 200
    assert taken == {"a": 1, "b": 1, "c": 1}


def test_a_pool_of_another_dialect(lab):
    """Goal: translated requests go on with the next key, too, and a refusal to translate does not."""
    openai = DIALECTS[0]
    gw, p, taken = pool(lab, openai, {"a": [actions.fail(401)], "b": [actions.ok("from b")]})
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    answer = gw.chat(target="/v1/messages", body=body)
    assert (answer.status, answer.json()["content"][0]["text"]) == (200, "from b")
    assert taken == {"a": 1, "b": 1} and p.requests[0].target == "/v1/chat/completions"
    answer = gw.chat(target="/v1/messages/count_tokens", body=body)
    assert answer.status == 400 and taken == {"a": 1, "b": 1}
    assert len(gw.entry(answer)["attempts"]) <= 1


def test_a_key_that_recovers_is_used_again(lab):
    """Goal: the hint of a rate limit is how long its key is left alone; suspended by hand, it is until resumed."""
    gw, _, taken = pool(lab, OpenAI(), {"a": [actions.fail(429, headers={"Retry-After": "60"}), actions.ok("from a")],
                                        "b": [actions.ok("from b")]})
    assert gw.chat().text == "from b"
    assert 50 < left(gw, "p#a") <= 60
    assert gw.api("POST", "/admin/targets/p%23a/resume").status == 200
    assert gw.chat().text == "from a"
    assert gw.api("POST", "/admin/targets/p%23a/suspend", {"seconds": 60, "reason": "rotated out"}).status == 200
    assert gw.chat().text == "from b" and gw.facts("p#a")["reason"] == "rotated out"
    answer = gw.api("POST", "/admin/targets/p%23c/resume")
    assert answer.status == 404 and answer.json()["error"]["code"] == "unknown_key"
    assert answer.json()["error"]["message"].startswith("provider 'p' has no key 'c'")


def test_suspended_keys_survive_reload_and_restart(lab):
    """Goal: as suspensions of targets do."""
    gw, _, taken = pool(lab, OpenAI(), {"a": [actions.fail(401)], "b": [actions.ok()]}, config={"state_dir": "state"})
    assert gw.chat().status == 200
    gw.write("gateway.lua", (gw.folder / "gateway.lua").read_text() + "-- touched\n")
    gw.reload()
    assert left(gw, "p#a") > 60
    gw.stop()
    again = lab.gateway((gw.folder / "gateway.lua").read_text())
    again.folder = gw.folder
    (gw.folder / "stderr").unlink()
    again.start()
    assert left(again, "p#a") > 60
    assert again.chat().status == 200 and taken == {"a": 1, "b": 2}


def test_a_renewed_key_is_used_again(lab):
    """Goal: what was held against a secret ends when the configuration has another one for that key."""
    gw, _, taken = pool(lab, OpenAI(), {"a": [actions.fail(401)], "b": [actions.ok()], "c": [actions.ok()]})
    assert gw.chat().status == 200 and left(gw, "p#a") > 60
    gw.write("gateway.lua", (gw.folder / "gateway.lua").read_text().replace("sk-pool-key-one", "sk-pool-key-three"))
    gw.reload()
    assert left(gw, "p#a") == 0
    assert gw.chat().status == 200 and taken == {"a": 1, "b": 1, "c": 1}


def test_no_secret_is_shown(lab):
    """Goal: errors, log, admin answers and metrics name keys and never show them."""
    gw, _, _ = pool(lab, OpenAI(), {"a": [actions.fail(400, "you sent sk-pool-key-one, not sk-pool-key-two")],
                                    "b": [actions.ok()]})
    answer = gw.chat()
    assert answer.status == 400 and answer.json()["error"]["message"] == "you sent ***, not ***"
    shown = [bytes(gw.admin_get(path).body) for path in ("/admin/targets", "/admin/routes", "/metrics")]
    shown += [bytes(answer.body), gw.stderr.encode(), str(gw.entry(answer)).encode()]
    assert not any(b"sk-pool-key" in text for text in shown)
    assert {"p#a", "p#b"} <= set(gw.targets())


def test_probes_use_a_key_that_works(lab):
    """Goal: a suspended key is not asked with, so that it does not make its provider look down."""
    up = lab.upstream(actions.ok())
    up.on("/v1/models", lambda c: actions.answer(200 if OpenAI().key(c.request) == "sk-pool-key-two" else 401)(c))
    gw = lab.failover({"p": up}, {"targets": ["p/m"]}, {"api_key": None, "api_keys": KEYS, "health": {
        "interval": 0.05, "down": 1000}})
    assert gw.api("POST", "/admin/targets/p%23a/suspend").status == 200
    wait_until(lambda: any(OpenAI().key(c.request) == "sk-pool-key-two" for c in up.calls_to("/v1/models")), "a probe with the second key")
