# SPDX-License-Identifier: MIT
"""Gemini through the gateway: its clients before providers of other dialects, and Gemini as a provider; Azure's paths."""
import json

from support import actions, client, wire

FLASH = "/v1beta/models/fast:generateContent"
STREAM = "/v1beta/models/fast:streamGenerateContent?alt=sse"
ASK = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


def says(*parts, reason="STOP", **more):
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": reason, "index": 0}],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4, "totalTokenCount": 13},
            "modelVersion": "gemini-2.5-flash", "responseId": "r1", **more}


def gemini(upstream, **more):
    return {"dialect": "gemini", "base_url": upstream.base_url.replace("/v1", "/v1beta"), "api_key": "google-key", **more}


def config(target, **providers):
    route = {"policy": "failover", "settings": {"targets": [target]}}
    return {"providers": providers, "routes": [
        {"name": "gemini", "path": "/v1beta/*", **route}, {"name": "stable", "path": "/v1/models/*", **route}, {"name": "chat", "path": "/v1/chat/completions", **route},
        {"name": "embeddings", "path": "/v1/embeddings", **route}]}


def start(lab, settings):
    gateway = lab.gateway(settings)
    gateway.start()
    return gateway


def data(answer):
    return [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: ")]


def parts(events):
    return [part for event in events for part in event["candidates"][0]["content"]["parts"]]


def test_passes_untouched(lab):
    """Goal: a client of Gemini before Gemini: bytes pass, the model changes in the path, the key in its field."""
    upstream = lab.upstream(actions.answer(value=says({"text": "Hello"})))
    gw = start(lab, config("google/gemini-2.5-flash", google=gemini(upstream)))
    body = b'{ "contents":[{"parts":[{"text":"Hi"}]}] }'
    answer = client.call(gw.address, "POST", FLASH, [("x-goog-api-key", "mine")], body)
    assert answer.status == 200 and answer.json() == says({"text": "Hello"})
    request = upstream.requests[0]
    assert (request.target, request.body) == ("/v1beta/models/gemini-2.5-flash:generateContent", body)
    assert request.all("x-goog-api-key") == ["google-key"]
    assert gw.entry(answer)["usage"] == {"input": 9, "output": 4}
    for method in ("generateContent", "countTokens"):  # google-genai asks for /v1
        answer = client.call(gw.address, "POST", f"/v1/models/fast:{method}", [], body)
        assert answer.status == 200, answer.body
        assert upstream.requests[-1].target == f"/v1beta/models/gemini-2.5-flash:{method}"


def test_client_before_openai(lab):
    """Goal: generateContent is answered by a chat completion, whole and as a stream, calls included."""
    upstream = lab.upstream(actions.ok("Hello"))
    gw = start(lab, config("main/gpt-4o", main={"dialect": "openai", "base_url": upstream.base_url, "api_key": "k"}))
    answer = client.call(gw.address, "POST", FLASH, [], {
        **ASK, "systemInstruction": {"parts": [{"text": "Be brief."}]}, "safetySettings": [],
        "generationConfig": {"maxOutputTokens": 5}})
    assert answer.status == 200, answer.body
    assert answer.json()["candidates"][0]["content"] == {"role": "model", "parts": [{"text": "Hello"}]}
    assert answer.header("x-moongate-dropped") == "safetySettings"
    sent = upstream.requests[-1]
    assert sent.target == "/v1/chat/completions" and sent.json()["model"] == "gpt-4o"
    assert [m["role"] for m in sent.json()["messages"]] == ["system", "user"]
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    upstream.script(actions.stream(
        wire.role(), wire.delta("He"), wire.delta("llo"), wire.chunk({"tool_calls": [call]}),
        wire.chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
        wire.chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
        wire.finish("tool_calls"), wire.usage(), wire.DONE))
    answer = client.call(gw.address, "POST", STREAM, [], ASK)
    events = data(answer)
    assert parts(events) == [{"text": "He"}, {"text": "llo"},
                             {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}}, {"text": ""}]
    assert events[-1]["candidates"][0]["finishReason"] == "STOP"
    assert events[-1]["usageMetadata"] == {"promptTokenCount": 3, "candidatesTokenCount": 5, "totalTokenCount": 8}
    assert answer.clean and b"event:" not in answer.body and b"[DONE]" not in answer.body


def test_client_without_sse(lab):
    """Goal: a stream that is asked for without alt=sse is a JSON list, translated and untouched."""
    upstream = lab.upstream(actions.ok("Hello"))
    gw = start(lab, config("main/gpt-4o", main={"dialect": "openai", "base_url": upstream.base_url}))
    path = STREAM.split("?")[0]
    answer = client.call(gw.address, "POST", path, [], ASK)
    assert [e["candidates"][0]["content"]["parts"] for e in answer.json()] == [[{"text": "Hello"}]]
    assert "stream" not in upstream.requests[-1].json()
    upstream = lab.upstream(actions.answer(value=[says({"text": "Hel"}), says({"text": "lo"})]))
    gw = start(lab, config("google/gemini-2.5-flash", google=gemini(upstream)))
    answer = client.call(gw.address, "POST", path, [], ASK)
    assert len(answer.json()) == 2 and answer.trail[-1][1] == "ok"


def test_client_is_told_errors_in_its_words(lab):
    """Goal: errors, in a stream too, have the shape that Google's SDKs raise."""
    upstream = lab.upstream(actions.fail(429, "slow down", "rate_limit_error", "rate_limit_exceeded"))
    gw = start(lab, config("main/gpt-4o", main={"dialect": "openai", "base_url": upstream.base_url}))
    answer = client.call(gw.address, "POST", FLASH, [], ASK)
    assert (answer.status, answer.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED"), (answer.body, answer.trail)
    upstream.script(actions.stream(wire.role(), wire.delta("He"), wire.error_event("gone", "server_error")))
    events = data(client.call(gw.address, "POST", STREAM, [], ASK))
    assert list(events[-1]) == ["error"] and 400 <= events[-1]["error"]["code"] < 600, events
    answer = client.call(gw.address, "GET", "/v1beta/files/f")
    assert (answer.status, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT"), answer.body


def test_provider_behind_openai(lab):
    """Goal: a chat completion is answered by Gemini, whole and as a stream, its key in its own field."""
    upstream = lab.upstream(actions.answer(value=says({"text": "Hello"})))
    gw = start(lab, config("google/gemini-2.5-flash", google=gemini(upstream)))
    answer = client.call(gw.address, body=client.chat_body(max_tokens=5))
    assert answer.status == 200, answer.body
    assert answer.text == "Hello"
    request = upstream.requests[-1]
    assert request.target == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert request.header("x-goog-api-key") == "google-key" and request.header("authorization") is None
    assert request.json() == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}],
                              "generationConfig": {"maxOutputTokens": 5}}
    upstream.script(actions.stream(*[wire.event(e, "\r\n\r\n") for e in (
        says({"text": "Hel"}, reason=None), says({"text": "lo"}, reason=None),
        says({"functionCall": {"name": "f", "args": {"a": 1}}}))]))
    answer = client.call(gw.address, body=client.chat_body(True))
    assert upstream.requests[-1].target == "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    choices = [e["choices"][0] for e in [json.loads(d) for d in lines(answer)] if e["choices"]]
    assert "".join(c["delta"].get("content") or "" for c in choices) == "Hello"
    assert choices[-1]["finish_reason"] == "tool_calls" and answer.body.endswith(wire.DONE)


def lines(answer):
    return [line[6:] for line in answer.body.decode().splitlines() if line.startswith("data: {")]


def test_provider_fails(lab):
    """Goal: a day's quota and a blocked prompt are told apart from a minute's limit, and in the client's words."""
    per_day = {"error": {"code": 429, "message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED",
                         "details": [{"@type": "type.googleapis.com/google.rpc.QuotaFailure",
                                      "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]}]}}
    upstream = lab.upstream(actions.answer(429, per_day), actions.answer(value={"promptFeedback": {"blockReason": "SAFETY"}}))
    gw = start(lab, config("google/gemini-2.5-flash", google=gemini(upstream)))
    answer = client.call(gw.address, body=client.chat_body())
    assert answer.trail == [("google/gemini-2.5-flash", "quota_exhausted", 429)]
    assert answer.json()["error"]["code"] == "insufficient_quota"
    assert client.call(gw.address, body=client.chat_body()).trail[0][1] == "content_filtered"


def test_provider_asks_to_wait(lab):
    """Goal: what Google's error says of the wait is the policy's hint and the client's Retry-After, though no field says it."""
    error = {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED", "details": [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3700s"}]}}
    upstream = lab.upstream(actions.answer(429, error))
    gw = start(lab, config("google/gemini-2.5-flash", google=gemini(upstream)))
    answer = client.call(gw.address, body=client.chat_body())
    assert (answer.status, answer.header("retry-after")) == (429, "3700"), (answer.trail, answer.body)
    assert len(answer.trail) == 1 # longer than any retry waits


def azure(upstream):
    return {"dialect": "azure", "base_url": f"http://{upstream.address}/openai?api-version=2024-10-21", "api_key": "azure-key"}


def test_azure(lab):
    """Goal: the deployment is in the path, the version in the query, the key in its field; embeddings go the same way."""
    upstream = lab.upstream(actions.ok("Hello"))
    gw = start(lab, config("azure/my-gpt", azure=azure(upstream)))
    assert client.call(gw.address, body=client.chat_body()).text == "Hello"
    request = upstream.requests[-1]
    assert request.target == "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21"
    assert request.header("api-key") == "azure-key" and request.header("authorization") is None
    client.call(gw.address, "POST", "/v1/embeddings", [], {"model": "m", "input": "x"})
    assert upstream.requests[-1].target == "/openai/deployments/my-gpt/embeddings?api-version=2024-10-21"
    assert client.call(gw.address, "POST", FLASH, [], ASK).json()["candidates"][0]["finishReason"] == "STOP"
    assert upstream.requests[-1].target == "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21"


def test_azure_without_deployments(lab):
    """Goal: Azure's newer API is the openai dialect with another credential."""
    upstream = lab.upstream(actions.ok("Hello"))
    gw = start(lab, config("azure/my-gpt", azure={
        "dialect": "openai", "base_url": f"http://{upstream.address}/openai/v1", "auth": "header:api-key",
        "api_key": "azure-key"}))
    assert client.call(gw.address, body=client.chat_body()).text == "Hello"
    request = upstream.requests[-1]
    assert request.target == "/openai/v1/chat/completions" and request.header("api-key") == "azure-key"
