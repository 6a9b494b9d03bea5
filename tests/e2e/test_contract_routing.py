# SPDX-License-Identifier: MIT
"""What reaches which provider: models of keys, the list of models, methods, and bodies byte for byte."""
import json

import pytest
from support import actions
from support.client import assert_openai_error, call

JSON = {"Content-Type": "application/json"}
KEYS = [{"name": "dev", "secret": "client-secret-dev", "models": ["gpt-4o*", "*-mini", "o?"]},
        {"name": "box", "secret": "client-secret-box", "environment": "sandbox"},
        {"name": "app", "secret": "client-secret-app"}]
DEV = {"x-api-key": "client-secret-dev"}


@pytest.fixture
def limited(lab):
    up = lab.upstream(actions.ok())
    return lab.failover({"p": up}, {"targets": ["p"]}, config={"keys": KEYS}), up


HIDDEN = {
    "text": ("text/plain", b'{"model":"o12","messages":[]}'),
    "text-allowed": ("text/plain", b'{"model":"gpt-4o","messages":[]}'),
    "form": ("application/x-www-form-urlencoded", b'{"model":"o12"}'),
    "multipart": ("multipart/form-data; boundary=xjsonx", b"--xjsonx--"),
    "lines": ("application/x-ndjson", b'{"model":"o12"}\n'),
    "vendor": ("application/vnd.api+json; charset=utf-8", b'{"model":"o12"}'),
    "odd-case": ("Application/JSON;charset=utf-8", b'{"model":"o12"}'),
    "empty-type": ("", b'{"model":"o12"}'),
    "empty-model": ("application/json", b'{"model":"","messages":[]}'),
    "numeric-model": ("application/json", b'{"model":12,"messages":[]}'),
    "null-model": ("application/json", b'{"model":null}'),
    "list-model": ("application/json", b'{"model":["o12"]}'),
    "no-model": ("application/json", b'{"messages":[]}'),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_limited_key_cannot_hide_the_model(limited, case):
    """Goal: a key limited to some models gets nowhere with a body whose model the gateway does not see."""
    gw, up = limited
    kind, body = HIDDEN[case]
    answer = call(gw.address, body=body, headers={**DEV, "Content-Type": kind})
    assert answer.status in (400, 403, 415), (answer.status, bytes(answer.body))
    assert_openai_error(answer)
    assert up.count == 0


def test_globs_of_a_key(limited):
    """Goal: * and ? in a key's models, case and all; what asks for no model at all passes."""
    gw, up = limited
    want = {"gpt-4o": 200, "gpt-4o-x": 200, "a-mini": 200, "o1": 200, "o12": 403, "GPT-4o": 403, "xgpt-4o": 403}
    assert {m: gw.chat(headers=DEV, model=m).status for m in want} == want
    assert up.count == 4
    assert call(gw.address, "GET", "/v1/files", headers=DEV).status == 200


def test_unlimited_key_sends_any_body(limited):
    """Goal: the limit of one key is none of another's."""
    gw, up = limited
    body = b'{"model":"o12"}'
    answer = call(gw.address, body=body, headers={"x-api-key": "client-secret-app", "Content-Type": "text/plain"})
    assert answer.status == 200 and up.requests[0].body == body


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl", "application/json-seq",
                                  "multipart/form-data; boundary=xjsonx"])
def test_bodies_that_are_no_json_pass_unscanned(lab, kind):
    """Goal: only JSON is scanned: a list of JSON lines is no JSON, whatever its type is called."""
    up = lab.upstream(actions.ok())
    body = b'{"model":"a"}\n{"model":"b"}\n'
    answer = call(lab.failover({"p": up}).address, target="/v1/files", body=body, headers={"Content-Type": kind})
    assert answer.status == 200 and up.requests[0].body == body


def models(gw, key):
    answer = call(gw.address, "GET", "/v1/models?after=x", headers={"x-api-key": f"client-secret-{key}"})
    assert answer.status == 200
    ids = [m["id"] for m in answer.json()["data"]]
    assert len(ids) == len(set(ids))
    return set(ids)


def test_list_of_models(lab):
    """Goal: the list names what a request may name: a model that no route takes, or the key may not use, is not in it."""
    up = lab.upstream(actions.ok())
    gw = lab.gateway({"providers": {"p": {"base_url": up.base_url}, "q": {"base_url": up.base_url}}, "keys": KEYS, "routes": [
        {"name": "named", "path": "/v1/chat/completions", "models": ["m1", "gpt-*"], "policy": "failover",
         "settings": {"targets": ["p/unreachable", {"order": "round_robin", "targets": ["q/gpt-4o", "p/gpt-5"]}, "q"]}},
        {"name": "embed", "path": "/v1/embeddings", "policy": "failover", "settings": {"targets": [{"target": "p/embed-1"}]}},
    ]}).start()
    assert models(gw, "app") == {"m1", "gpt-4o", "gpt-5", "embed-1"}
    assert models(gw, "dev") == {"gpt-4o"}
    for name in models(gw, "app") - {"embed-1"}:
        assert gw.chat(model=name, headers={"x-api-key": "client-secret-app"}).status == 200, name
    assert call(gw.address, "GET", "/v1/models").status == 401


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS"])
def test_methods_with_bodies(lab, method):
    """Goal: every method reaches the provider, with its body."""
    up = lab.upstream(actions.ok())
    gw = lab.failover({"p": up}, {"targets": ["p"]})
    assert call(gw.address, method, "/v1/x", body={"model": "z"}).status == 200
    assert (up.requests[0].method, up.requests[0].body) == (method, b'{"model": "z"}')


def test_head_of_a_provider(lab):
    """Goal: the answer to a HEAD has the provider's length and no body; the connection goes on."""
    up = lab.upstream(actions.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 555\r\nX-A: b\r\n\r\n", end="keep"))
    gw = lab.failover({"p": up}, {"targets": ["p"]})
    with gw.client() as c:
        answer = c.request("HEAD", "/v1/files/x").read(head_request=True)
        assert (answer.status, answer.header("content-length"), answer.header("x-a")) == (200, "555", "b")
        assert c.request("HEAD", "/?beta=true").read(head_request=True).status == 200


def test_answer_without_content(lab):
    """Goal: a 204 stays one, with neither a body nor a length."""
    up = lab.upstream(actions.raw(b"HTTP/1.1 204 No Content\r\n\r\n", end="keep"))
    answer = call(lab.failover({"p": up}, {"targets": ["p"]}).address, "DELETE", "/v1/x")
    assert answer.status == 204 and answer.header("content-length") is None and not answer.body


def test_base_url_that_ends_in_a_slash(lab):
    """Goal: no double slash."""
    up = lab.upstream(actions.ok())
    up.base_url += "/"
    lab.failover({"p": up}).chat()
    assert up.requests[0].target == "/v1/chat/completions"


def test_bytes_that_need_no_change(lab):
    """Goal: a body is forwarded as it came; another model is spliced in for the old one's bytes alone."""
    body = b'{ "model" : "gpt\\u002d4o",\n "x":1.0000000000000000001, "y":"\\u00e9" ,"a":[ ] }'
    up = lab.upstream(actions.fail(500), actions.fail(500), actions.ok())
    gw = lab.failover({"p": up}, {"targets": ["p", "p/gpt-4o", "p/other"]})
    assert call(gw.address, body=body, headers=JSON).status == 200
    assert [r.body for r in up.requests] == [body, body, body.replace(b'"gpt\\u002d4o"', b'"other"')]


@pytest.mark.parametrize("body", [b'{"a":1}', b"{}", b'{ }', b'{"model":null}'])
def test_target_names_the_model(lab, body):
    """Goal: a body without a model gets the target's."""
    up = lab.upstream(actions.ok())
    assert call(lab.failover({"p": up}).address, body=body, headers=JSON).status == 200
    assert json.loads(up.requests[0].body) == {**json.loads(body), "model": "p-model"}


def test_two_listeners(lab):
    """Goal: a list of addresses: all of them serve."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"listen": ["127.0.0.1:0", {"address": "127.0.0.1:0"}]})
    assert len(set(gw.addresses)) == 2
    assert [call(a, body={"model": "m"}).status for a in gw.addresses] == [200, 200]


def test_suspended_is_the_pair_that_is_sent(lab):
    """Goal: provider and model together are suspended, also where the model is the client's."""
    p, q = lab.upstream(actions.fail(500), actions.ok()), lab.upstream(actions.ok())
    gw = lab.failover({"p": p, "q": q}, {"targets": ["p", "q"], "suspend": 60})
    gw.chat(model="m1")
    assert gw.chat(model="m2").trail == [("p/m2", "ok", 200)]
    assert gw.chat(model="m1").trail == [("q/m1", "ok", 200)]
