# SPDX-License-Identifier: MIT
"""Requests that another dialect cannot say, in part or at all; the endpoints beside the conversations; public names across dialects."""
import pytest
from conftest import provider_config
from support import actions
from support.client import call
from support.speech import DIALECTS, Pair

WEB = {"type": "web_search_20250305", "name": "web_search"}
LOOK = {"name": "look", "input_schema": {"type": "object"}}
AUDIO = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}]}
# Pair, what the client asks for, what the provider has no word for.
LOSSES = [
    ("openai", "anthropic", {"logit_bias": {"50256": -100}}, ["logit_bias"]),
    ("openai", "anthropic", {"seed": 1, "presence_penalty": 1, "frequency_penalty": 1}, ["frequency_penalty", "presence_penalty", "seed"]),
    ("openai", "anthropic", {"n": 2}, ["n"]),
    ("openai", "anthropic", {"logprobs": True, "top_logprobs": 2}, ["logprobs", "top_logprobs"]),
    ("openai", "anthropic", {"temperature": 1.5}, ["temperature"]),
    ("openai", "anthropic", AUDIO, ["messages.0.audio"]),
    ("openai", "gemini", {"parallel_tool_calls": False, "logit_bias": {"1": 1}}, ["logit_bias", "parallel_tool_calls"]),
    ("openai", "gemini", {"stop": list("abcdef")}, ["stop"]),
    ("openai", "responses", {"seed": 1, "stop": ["x"]}, ["seed", "stop"]),
    ("anthropic", "openai", {"top_k": 5}, ["top_k"]),
    ("anthropic", "openai", {"tools": [WEB, LOOK]}, ["tools.web_search"]),
    ("anthropic", "openai", {"stop_sequences": list("abcdef")}, ["stop"]),
    ("anthropic", "gemini", {"container": "c1", "mcp_servers": [{"type": "url"}]}, ["container", "mcp_servers"]),
    ("gemini", "openai", {"safetySettings": [{"category": "x", "threshold": "y"}], "cachedContent": "cachedContents/1"}, ["cachedContent", "safetySettings"]),
    ("gemini", "openai", {"generationConfig": {"topK": 4}}, ["top_k"]),
    ("gemini", "anthropic", {"tools": [{"googleSearch": {}}]}, ["tools.googleSearch"]),
    ("responses", "anthropic", {"truncation": "auto", "tools": [{"type": "web_search"}]}, ["tools.web_search", "truncation"]),
    ("responses", "gemini", {"max_tool_calls": 2}, ["max_tool_calls"]),
]
# What changes all of the answer is refused, with `strict` or without: the client, the provider, the fields, the name that the refusal names.
REFUSED = [
    ("responses", "gemini", {"background": True}, "background"),
    ("responses", "anthropic", {"previous_response_id": "resp_1"}, "previous_response_id"),
    ("responses", "anthropic", {"conversation": "conv_1"}, "conversation"),
    ("openai", "anthropic", {"messages": []}, "messages"),
    ("anthropic", "openai", {"messages": "hi"}, "messages"),
    ("gemini", "openai", {"contents": [{"role": "user", "parts": [{"text": 5}]}]}, "contents.0.parts.0.text"),
    ("anthropic", "gemini", {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": 3, "data": "A"}}]}]},
     "media_type"),
]


@pytest.mark.parametrize("client,provider,fields,lost", LOSSES, ids=[f"{c}-over-{p}-{','.join(lost)}" for c, p, _, lost in LOSSES])
def test_what_cannot_be_said(lab, client, provider, fields, lost):
    """Goal: it is left out and told to the client and the log; `strict` refuses, names it in the client's dialect, and asks nobody."""
    pair = Pair(client, provider)
    p = lab.upstream(actions.answer(200, pair.provider.body()))
    gw = pair.gateway(lab, {"p": p})
    answer = pair.call(gw, False, **fields)
    assert answer.status == 200, answer.body
    assert sorted(answer.header("x-moongate-dropped").split(",")) == lost
    assert sorted(gw.entry(answer)["attempts"][0]["dropped"]) == lost
    gw = pair.gateway(lab, {"p": p}, {"strict": True})
    answer = pair.call(gw, False, **fields)
    assert answer.status == 400 and answer.trail == [("p/p-model", "unsupported", 0)]
    error = answer.json()["error"]
    assert all(name in error["message"] for name in lost), error
    assert error.get("type", error.get("status")) == {"gemini": "INVALID_ARGUMENT"}.get(client, "invalid_request_error")
    assert p.count == 1
    plain = pair.call(gw, False)
    assert plain.status == 200 and plain.header("x-moongate-dropped") is None


@pytest.mark.parametrize("client,provider,fields,name", REFUSED, ids=[f"{c}-over-{p}-{n}" for c, p, _, n in REFUSED])
def test_what_is_refused(lab, client, provider, fields, name):
    """Goal: a request that cannot be said at all is refused by the name of what is wrong, in the client's dialect; nobody is asked or blamed."""
    pair = Pair(client, provider)
    p = lab.upstream(actions.answer(200, pair.provider.body()))
    gw = pair.gateway(lab, {"p": p}, {"suspend": 60})
    answer = pair.call(gw, False, **fields)
    assert answer.status == 400 and answer.trail == [("p/p-model", "unsupported", 0)] and p.count == 0, answer.body
    assert name in answer.json()["error"]["message"]
    assert not gw.suspended("p/p-model") and gw.facts("p/p-model")["failures"] == 0


def test_strict_moves_on_to_who_can(lab):
    """Goal: with `strict` a target that cannot say it is passed over, and one that can is asked."""
    pair = Pair("openai", "anthropic")
    a, b = lab.upstream(actions.answer(200, pair.provider.body())), lab.upstream(actions.ok("mine"))
    b.options = {"dialect": "openai", "speaks": ["openai"]}
    answer = pair.call(pair.gateway(lab, {"a": a, "b": b}, {"strict": True}), False, seed=1)
    assert answer.text == "mine" and a.count == 0 and answer.trail[0] == ("a/a-model", "unsupported", 0)
    assert b.requests[0].json()["seed"] == 1


def multipart(**fields):
    parts = [f'--cut\r\nContent-Disposition: form-data; name="{name}"{"; filename=" + chr(34) + "f" + chr(34) if name == "file" else ""}\r\n\r\n{value}\r\n'
             for name, value in fields.items()]
    return {"content-type": "multipart/form-data; boundary=cut"}, "".join([*parts, "--cut--\r\n"]).encode()


JSON = {"content-type": "application/json"}
ANTHROPIC = {"anthropic-version": "2023-06-01"}
# Dialect, method, path, headers, body; the path at the provider where it is not the same.
BESIDE = [
    ("openai", "POST", "/v1/embeddings", JSON, b'{"input": "x", "model":"m"}'),
    ("openai", "POST", "/v1/audio/speech", JSON, b'{"input": "x", "model":"m", "voice": "v"}'),
    ("openai", "POST", "/v1/audio/transcriptions", *multipart(language="de", file="\x00RIFF")),
    ("openai", "POST", "/v1/images/generations", JSON, b'{"prompt": "x", "model":"m"}'),
    ("openai", "POST", "/v1/images/edits", *multipart(prompt="x", file="\x89PNG")),
    ("openai", "POST", "/v1/files", *multipart(purpose="batch", file="{}")),
    ("openai", "GET", "/v1/files/file-1/content", {}, None),
    ("openai", "DELETE", "/v1/files/file-1", {}, None),
    ("responses", "GET", "/v1/responses/resp_1", {}, None),
    ("anthropic", "POST", "/v1/messages/count_tokens", {**JSON, **ANTHROPIC}, b'{"model":"m", "messages": []}'),
    ("anthropic", "GET", "/v1/messages/batches/b1", ANTHROPIC, None),
    ("anthropic", "POST", "/v1/files", *(lambda h, b: ({**h, **ANTHROPIC}, b))(*multipart(file="x"))),
    ("anthropic", "GET", "/v1/files/file_1", ANTHROPIC, None),
    ("gemini", "POST", "/v1beta/models/m:embedContent", JSON, b'{"content": {"parts": []}, "model": "kept"}'),
    ("gemini", "POST", "/v1beta/models/m:countTokens", JSON, b'{"contents": []}'),
    ("gemini", "GET", "/v1beta/files/f1", {}, None),
    ("gemini", "POST", "/v1beta/cachedContents", JSON, b'{"ttl": "1s"}'),
]


@pytest.mark.parametrize("dialect,method,path,headers,body", BESIDE, ids=[f"{d}-{m} {p}" for d, m, p, _, _ in BESIDE])
def test_endpoints_beside(lab, dialect, method, path, headers, body):
    """Goal: at a provider of the client's dialect bytes pass both ways, bar the model; at another it is `unsupported`, told in the client's dialect."""
    said = b"\x00\xffID3" if "audio" in path else b'{"object": "thing",  "data": [1]}'
    own = Pair(dialect, dialect)
    p = lab.upstream(actions.answer(200, body=said, content_type="audio/mpeg" if "audio" in path else "application/json"))
    base = {"base_url": p.base_url.replace("/v1", "/v1beta")} if dialect == "gemini" else {}
    p.options = {"dialect": dialect, **base}
    answer = call(own.gateway(lab, {"p": p}).address, method, path, headers, body)
    assert answer.status == 200 and answer.body == said and answer.trail[0][1] == "ok"
    got = p.requests[0]
    assert got.method == method and got.target == path.replace("/m:", "/p-model:")
    assert got.body == (body or b"").replace(b'"m"', b'"p-model"') and got.header("content-type") == headers.get("content-type")
    other = Pair(dialect, "openai" if dialect in ("anthropic", "gemini") else "anthropic")
    q = lab.upstream(actions.ok("never"))
    answer = call(other.gateway(lab, {"q": q}).address, method, path, headers, body)
    assert answer.status == 400 and answer.trail == [("q/q-model", "unsupported", 0)] and q.count == 0
    error = answer.json()["error"]
    assert error["message"] and error.get("type", error.get("status")) == ("INVALID_ARGUMENT" if dialect == "gemini" else "invalid_request_error")
    assert (answer.json().get("type") == "error") == (dialect == "anthropic")


def test_public_names_across_dialects(lab):
    """Goal: one public name, answered by a provider of another dialect, is what every client asks for, is told, and finds in its own list of models."""
    p = lab.upstream()
    p.options = {"dialect": "anthropic"}
    routes = [{"name": f"r{n}", "path": path, "policy": "failover", "models": {"garden/fast": ["p/claude-x"]}} for n, path in enumerate(("/v1/*", "/v1beta/*"))]
    gw = lab.gateway({**provider_config({"p": p}), "routes": routes}).start()
    for name, say in DIALECTS.items():
        pair = Pair(name, "anthropic")
        p.script(actions.answer(200, Pair(name, "anthropic").provider.body("hello")))
        answer = pair.call(gw, False, model="garden/fast")
        assert answer.status == 200 and b"hello" in answer.body, (name, answer.body)
        assert p.requests[-1].json()["model"] == "claude-x" and gw.entry(answer)["model"] == "garden/fast"
    seen = {name: call(gw.address, "GET", path, headers).json() for name, path, headers in (
        ("openai", "/v1/models", {}), ("anthropic", "/v1/models", ANTHROPIC), ("gemini", "/v1beta/models", {}))}
    assert [m["id"] for m in seen["openai"]["data"]] == ["garden/fast"] and seen["openai"]["object"] == "list"
    assert [m["id"] for m in seen["anthropic"]["data"]] == ["garden/fast"] and seen["anthropic"]["has_more"] is False
    assert [m["name"] for m in seen["gemini"]["models"]] == ["models/garden/fast"]


FOREIGN = [Pair(c, p) for c in DIALECTS for p in DIALECTS if c != p]
OWN = {"openai": {"openai-organization": "mine", "x-stainless-lang": "mine"}, "responses": {"openai-organization": "mine", "session_id": "mine"},
       "anthropic": {"anthropic-version": "2026-10-21", "anthropic-beta": "mine", "x-stainless-lang": "mine"}, "gemini": {"x-goog-api-client": "mine"}}


@pytest.mark.parametrize("pair", FOREIGN, ids=repr)
def test_fields_of_the_client_stay_behind(lab, pair):
    """Goal: keys, cookies, versions, queries and encodings that are between the client and its dialect reach no provider of another."""
    p = lab.upstream(actions.answer(200, pair.provider.body()))
    gw = pair.gateway(lab, {"p": p})
    target, body = pair.client.ask(False)
    headers = {"authorization": "Bearer mine", "x-api-key": "mine", "x-goog-api-key": "mine", "api-key": "mine", "cookie": "mine=1",
               "accept-encoding": "gzip, br", **OWN[pair.client.name]}
    answer = call(gw.address, target=target + ("&" if "?" in target else "?") + "beta=true&key=mine", headers=headers, body=body)
    assert answer.status == 200 and answer.header("content-encoding") is None
    got = p.requests[0]
    assert "mine" not in str(got.headers) + got.target and "beta" not in got.target
    assert got.all("accept-encoding") in ([], ["identity"])
    key = {"openai": ("authorization", "Bearer sk-provider-p"), "responses": ("authorization", "Bearer sk-provider-p"), "anthropic": ("x-api-key", "sk-provider-p"),
           "gemini": ("x-goog-api-key", "sk-provider-p")}[pair.provider.name]
    assert got.all(key[0]) == [key[1]]
    assert got.header("anthropic-version") == ("2023-06-01" if pair.provider.name == "anthropic" else None)
    assert got.header("content-type") == "application/json" and got.header("content-length") == str(len(got.body))
