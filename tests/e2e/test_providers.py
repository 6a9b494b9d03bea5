# SPDX-License-Identifier: MIT
"""The pretend providers of the matrix (support/providers), asked directly: each takes what is right and names what its own provider would refuse."""
import base64
import json

import pytest
from support.client import Client
from support.providers.provider import provider

PNG = base64.b64encode(b"\x89PNG").decode()
ASK = "What? [cell x]"
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}, "depth": {"type": "integer"}}}
COUNT = {"type": "object", "properties": {"what": {"type": "string"}}}
SIGNED = ("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + "0" * 64)


def chat(**fields):
    return {"model": "p--text", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASK}], **fields}


def responses(*more, **fields):
    return {"model": "p--text", "instructions": "Be brief.", "input": [{"role": "user", "content": ASK}, *more], **fields}


def anthropic(*more, **fields):
    return {"model": "p--text", "max_tokens": 9, "system": "Be brief.", "messages": [{"role": "user", "content": ASK}, *more], **fields}


def gemini(*more, **fields):
    return {"systemInstruction": {"parts": [{"text": "Be brief."}]}, "contents": [{"role": "user", "parts": [{"text": ASK}]}, *more], **fields}


def bedrock(*more, **fields):
    return {"system": [{"text": "Be brief."}], "messages": [{"role": "user", "content": [{"text": ASK}]}, *more], **fields}


DOORS = {
    "chat": ("/v1/chat/completions", {"Authorization": "Bearer sk-openai"}),
    "azure": ("/openai/deployments/p--text/chat/completions?api-version=1", {"api-key": "sk-azure"}),
    "responses": ("/v1/responses", {"Authorization": "Bearer sk-responses"}),
    "anthropic": ("/v1/messages", {"x-api-key": "sk-anthropic", "anthropic-version": "2023-06-01"}),
    "gemini": ("/v1beta/models/p--text:generateContent", {"x-goog-api-key": "sk-gemini"}),
    "gemini stream": ("/v1beta/models/p--text:streamGenerateContent?alt=sse", {"x-goog-api-key": "sk-gemini"}),
    "bedrock": ("/model/p--text/converse", {"Authorization": SIGNED}),
    "bedrock stream": ("/model/p--text/converse-stream", {"Authorization": SIGNED}),
}
GOOD = [("chat", chat()), ("chat", chat(stream=True)), ("azure", chat()), ("responses", responses()), ("responses", responses(stream=True)),
        ("anthropic", anthropic()), ("anthropic", anthropic(stream=True)), ("gemini", gemini()), ("gemini stream", gemini()), ("bedrock", bedrock()),
        ("bedrock stream", bedrock())]
CALL = {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}
USE = {"type": "tool_use", "id": "a", "name": "look", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "a", "content": "moss"}
TEXT = {"type": "text", "text": "and?"}
BAD = [
    ("chat", chat(top_k=3), "unknown field 'top_k'"),
    ("chat", chat(temperature=3), "temperature"),
    ("chat", chat(stream_options={}), "stream_options without stream"),
    ("chat", chat(tools=[]), "tools: [] is too short"),
    ("chat", {"model": "p--text", "messages": [{"role": "assistant", "content": None, "tool_calls": [CALL]}, {"role": "user", "content": "x"}]}, "were not answered"),
    ("chat", {"model": "p--text", "messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}]}, "no such call"),
    ("chat", {"model": "p--text", "messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "text is expected"),
    ("responses", responses({"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"}), "No tool output found"),
    ("responses", responses({"type": "function_call_output", "call_id": "a", "output": "x"}), "No tool call found"),
    ("responses", responses(max_output_tokens=3), "at least 16"),
    ("responses", responses({"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}), "not allowed for assistant"),
    ("anthropic", {k: v for k, v in anthropic().items() if k != "max_tokens"}, "max_tokens: Field required"),
    ("anthropic", anthropic({"role": "user", "content": "more"}), "roles must alternate"),
    ("anthropic", anthropic({"role": "assistant", "content": [USE]}, {"role": "user", "content": "no"}), "without tool_result blocks"),
    ("anthropic", anthropic({"role": "assistant", "content": [USE]}, {"role": "user", "content": [TEXT, RESULT]}), "must come first"),
    ("anthropic", anthropic({"role": "assistant", "content": [{"type": "text", "text": " "}]}), "non-empty"),
    ("anthropic", anthropic({"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "of another"}]}), "Invalid `signature`"),
    ("anthropic", anthropic(temperature=1.5), "temperature"),
    ("anthropic", anthropic(thinking={"type": "enabled", "budget_tokens": 2048}), "max_tokens must be greater"),
    ("gemini", gemini({"role": "assistant", "parts": [{"text": "x"}]}), "valid role"),
    ("gemini", gemini({"role": "model", "parts": [{"functionCall": {"name": "look", "args": {}}}]}), "function calls without responses"),
    ("gemini", gemini({"role": "model", "parts": [{"functionCall": {"name": "look", "args": {}}}]},
                      {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": "moss"}}]}), "an object is expected"),
    ("gemini", gemini(generationConfig={"responseSchema": {"type": "object", "additionalProperties": False}, "responseMimeType": "application/json"}),
     "unknown field 'additionalProperties'"),
    ("gemini", gemini(generationConfig={"frobnicate": 1}), "unknown field 'frobnicate'"),
    ("bedrock", bedrock({"role": "user", "content": [{"text": "x"}]}), "roles must alternate"),
    ("bedrock", bedrock({"role": "assistant", "content": [{"toolUse": {"toolUseId": "a", "name": "look", "input": {}}}]},
                        {"role": "user", "content": [{"toolResult": {"toolUseId": "a", "content": [{"text": "x"}]}}]}), "toolConfig field must be defined"),
    ("bedrock", bedrock({"role": "assistant", "content": [{"text": " "}]}), "blank"),
    ("bedrock", bedrock(inferenceConfig={"temperature": 1.5}), "temperature"),
]


@pytest.fixture
def ask(lab):
    up = lab.keep(provider())

    def asked(door, body):
        target, headers = DOORS[door]
        with Client(up.address) as client:
            answer = client.request("POST", target, headers, body).read()
        assert answer.clean
        return answer, up.calls[-1]
    return asked


@pytest.mark.parametrize("door, body", GOOD)
def test_what_is_right_is_answered(ask, door, body):
    """Goal: a plain question is answered in the dialect's shape, whole or streamed to its end."""
    answer, call = ask(door, body)
    assert answer.status == 200 and not getattr(call, "complaint", None), answer.body
    assert b"moon gate" in answer.body.replace(b"\\u", b"") or answer.framing == "chunked"


@pytest.mark.parametrize("door, body, why", BAD)
def test_what_is_wrong_is_named(ask, door, body, why):
    """Goal: what the provider would refuse is a 400 in its own shape, and the record tells why."""
    answer, call = ask(door, body)
    assert answer.status == 400 and why in call.complaint, (answer.status, getattr(call, "complaint", None))
    assert "refused by the pretend provider" in json.dumps(answer.json())


def test_credentials_are_checked(ask):
    """Goal: a request without the provider's own key is noticed."""
    for door, (target, _) in list(DOORS.items()):
        DOORS[door], kept = (target, {"Authorization": "Bearer of the client"}), DOORS[door]
        try:
            assert ask(door, chat())[0].status == 400, door
        finally:
            DOORS[door] = kept
