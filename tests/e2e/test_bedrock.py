# SPDX-License-Identifier: MIT
"""AWS Bedrock as a provider: signed requests, streams in frames, clients that know nothing of either."""
import json
from types import SimpleNamespace

import openai
import pytest
from support import actions, frames
from support.sigv4 import Keys, Wrong, refuse, signed
from support.waiting import wait_until

MODEL = "anthropic.claude-3-7-sonnet-20250219-v1:0"
PATH = "/model/anthropic.claude-3-7-sonnet-20250219-v1%3A0/converse"
USAGE = {"inputTokens": 5, "outputTokens": 7, "totalTokens": 12}
ANSWER = {"output": {"message": {"role": "assistant", "content": [{"text": "Hello from afar"}]}},
          "stopReason": "end_turn", "usage": USAGE, "metrics": {"latencyMs": 5}}


def delta(text, index=0):
    return frames.message("contentBlockDelta", {"contentBlockIndex": index, "delta": {"text": text}, "p": "abc"})


BEGIN = frames.message("messageStart", {"role": "assistant", "p": "abcdef"})
END = (frames.message("contentBlockStop", {"contentBlockIndex": 0}), frames.message("messageStop", {"stopReason": "end_turn"}),
       frames.message("metadata", {"usage": USAGE, "metrics": {"latencyMs": 5}}))


def stream(*events, **more):
    return actions.stream(*events, content_type=frames.CONTENT_TYPE.decode(), **more)


def both(keys, plain, streamed):
    """What a model answers, whole or streamed, to those who sign."""
    def act(call):
        signed(keys, streamed if call.request.path.endswith("/converse-stream") else plain)(call)
    return act


def bedrock(lab, script, aws, **options):
    up = lab.upstream(*(script if isinstance(script, list) else [script]))
    up.options = {"dialect": "bedrock", "base_url": f"http://{up.address}", "api_key": None, "aws": aws, **options}
    return up


def gateway_to(lab, script, keys, transport="auto", settings=None, others=None, **options):
    up = bedrock(lab, script, keys.config, transport=transport, **options)
    targets = [f"aws/{MODEL}"] + [f"{name}/m" for name in others or {}]
    return up, lab.failover({"aws": up, **(others or {})}, {"targets": targets, **(settings or {})})


def words_of(answer):
    return answer.body.decode()


def client(gateway):
    return openai.OpenAI(base_url=f"http://{gateway.address}/v1", api_key="none", max_retries=0)


ASK = {"model": "gpt", "messages": [{"role": "user", "content": "Hi"}]}

# Host, fields and body as botocore 1.43 signed them, and its signature: the same rows as in tests/unit/test_sigv4.c.
ORACLE = [
    ("POST", "/model/amazon.nova-lite-v1/converse", b"{}", {}, None, "us-east-1",
     "0c2c94681dd30225a50fed42aa80c31837659b8fa4bd7b898891aef5d419089d"),
    ("POST", "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse", b'{"messages":[]}', {}, None, "us-east-1",
     "5e4253e1797c971288554a1b903ca603b015a795c07a4d4522d90bec57609b8e"),
    ("POST", "/model/anthropic.claude-3-5-sonnet-20241022-v2:0/converse-stream", b'{"messages":[]}', {}, None, "us-east-1",
     "ccbacba568811b02198a962b0020578c1694eb0484651946344fa59eff3c6924"),
    ("POST", "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Ainference-profile%2Feu.anthropic.claude-sonnet-4-"
     "20250514-v1%3A0/converse", b'{"messages":[]}', {}, "IQoJb3JpZ2luX2VjEXAMPLE//token==", "eu-central-1",
     "21f8959195051be11b3ed9b6f9a5828c16718ac5bb47d79cd066bbefa465528c"),
    ("GET", "/foundation-models", b"", {"X-Amz-Zeta": "  two   spaces ", "x-amz-alpha": "1", "Accept": "*/*"}, None, "us-east-1",
     "38588aee64b35c8a89cc92509eb7db041b79ffddb0e5079af716d28cac1cfb5f"),
]
SIGNED_AT = 1795301100


@pytest.mark.parametrize("row", ORACLE, ids=lambda row: row[1][:40])
def test_the_verifier(row):
    """Goal: what these tests take for a good signature is what AWS's own library makes, and nothing else."""
    method, target, body, fields, token, region, signature = row
    headers = dict(fields or {}, Host=f"bedrock-runtime.{region}.amazonaws.com")
    headers["X-Amz-Date"] = "20261121T224500Z"
    if method == "POST":
        headers["Content-Type"] = "application/json"
    if token:
        headers["X-Amz-Security-Token"] = token
    names = sorted(name.lower() for name in headers if name.lower() != "accept")
    headers["Authorization"] = (f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/{region}/bedrock/aws4_request, "
                                f"SignedHeaders={';'.join(names)}, Signature={signature}")

    def all_of(name):
        return [v for n, v in headers.items() if n.lower() == name]

    request = SimpleNamespace(method=method, target=target, body=body, headers=list(headers.items()), all=all_of,
                              header=lambda name: (all_of(name) or [None])[0])
    keys = Keys(session_token=token, region=region, now=lambda: SIGNED_AT)
    keys.check(request)
    request.body += b" "
    with pytest.raises(Wrong, match="does not match"):
        keys.check(request)
    keys.now = lambda: SIGNED_AT + 301
    with pytest.raises(Wrong, match="expired"):
        keys.check(request)


@pytest.mark.parametrize("transport", ["auto", "libcurl"])
@pytest.mark.parametrize("token", [None, "FwoGZXIvYXdzEXAMPLE//token=="])
def test_requests_are_signed(lab, transport, token):
    """Goal: AWS takes what we sign: the model's ':' in the path, small bodies and large, a session token, over both transports."""
    keys = Keys(session_token=token)
    up, gateway = gateway_to(lab, both(keys, actions.answer(200, ANSWER), None), keys, transport=transport)
    for content in ("Hi", "long " * 20000):
        answer = gateway.chat(messages=[{"role": "user", "content": content}], headers=[("X-Amz-Meta", "from  a client")])
        assert answer.status == 200, words_of(answer)
        assert answer.text == "Hello from afar"
    request = up.requests[-1]
    assert request.target == PATH
    assert request.json() == {"messages": [{"role": "user", "content": [{"text": content}]}]}
    assert request.header("x-amz-security-token") == token


def test_an_api_key_is_not_signed(lab):
    """Goal: a Bedrock API key goes as a bearer token, without any signature."""
    up = lab.upstream(actions.answer(200, ANSWER))
    up.options = {"dialect": "bedrock", "base_url": f"http://{up.address}", "api_key": "bedrock-api-key-x"}
    gateway = lab.failover({"aws": up}, {"targets": [f"aws/{MODEL}"]})
    assert gateway.chat().status == 200
    assert up.requests[0].header("authorization") == "Bearer bedrock-api-key-x"
    assert up.requests[0].header("x-amz-date") is None


def test_probes_are_signed(lab):
    """Goal: a health probe is signed like every request."""
    keys = Keys()
    up = bedrock(lab, actions.answer(200, ANSWER), keys.config,
                 health={"path": "/ping?b=1&a", "method": "POST", "body": "{}", "interval": 0.05})
    up.on("/ping", signed(keys, actions.answer(200, {})))
    lab.failover({"aws": up}, {"targets": [f"aws/{MODEL}"]})
    wait_until(lambda: len(up.calls_to("/ping")) > 1, "two probes")
    for call in up.calls_to("/ping"):
        keys.check(call.request)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_streams(lab, one_by_one):
    """Goal: an OpenAI client's stream comes from Bedrock's frames, each event in its turn, with a clean end and usage."""
    keys = Keys()
    events = stream(BEGIN, delta("Hello"), delta(" from"), delta(" afar"), *END, one_by_one=one_by_one)
    up, gateway = gateway_to(lab, both(keys, None, events), keys)
    with client(gateway) as sdk:
        chunks = list(sdk.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hello from afar"
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].usage.prompt_tokens == 5 and chunks[-1].usage.completion_tokens == 7
    assert up.requests[0].target == PATH + "-stream"


def test_tools(lab):
    """Goal: two parallel calls and their results, there and back."""
    keys = Keys()
    calls = [{"toolUse": {"toolUseId": f"tooluse_{n}", "name": "get_weather", "input": {"place": place}}}
             for n, place in enumerate(["Oslo", "Rome"])]
    wants = {"output": {"message": {"role": "assistant", "content": calls}}, "stopReason": "tool_use", "usage": USAGE}
    up, gateway = gateway_to(lab, [signed(keys, actions.answer(200, wants)), signed(keys, actions.answer(200, ANSWER))], keys)
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {
        "type": "object", "properties": {"place": {"type": "string"}}}}}]
    with client(gateway) as sdk:
        said = sdk.chat.completions.create(**ASK, tools=tools).choices[0]
        assert said.finish_reason == "tool_calls"
        assert [json.loads(c.function.arguments)["place"] for c in said.message.tool_calls] == ["Oslo", "Rome"]
        results = [{"role": "tool", "tool_call_id": c.id, "content": "sun"} for c in said.message.tool_calls]
        again = sdk.chat.completions.create(model="gpt", tools=tools, messages=[
            *ASK["messages"], said.message.model_dump(exclude_none=True), *results])
    assert again.choices[0].message.content == "Hello from afar"
    turns = up.requests[1].json()["messages"]
    assert [block["toolUse"]["input"] for block in turns[1]["content"]] == [{"place": "Oslo"}, {"place": "Rome"}]
    assert [block["toolResult"]["toolUseId"] for block in turns[2]["content"]] == ["tooluse_0", "tooluse_1"]


BROKEN = frames.message("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "x"}})[:-1] + b"\0"


@pytest.mark.parametrize("events, outcome", [
    ([BEGIN, BROKEN], "invalid_response"),
    ([BEGIN, frames.exception("throttlingException", {"message": "Too many tokens, please wait."})], "error_event"),
    ([BEGIN[:20]], "invalid_response"),
    ([BEGIN, *END], "empty_response"),
])
def test_broken_before_commit(lab, events, outcome):
    """Goal: a frame that is broken, an exception, an end too early: before any content the next target answers."""
    keys = Keys()
    spare = lab.upstream(actions.talk("from", " the spare"))
    _, gateway = gateway_to(lab, both(keys, None, stream(*events)), keys, others={"spare": spare})
    answer = gateway.chat(stream=True)
    assert answer.status == 200 and "the spare" in words_of(answer)
    assert [a["outcome"] for a in gateway.entry(answer)["attempts"]] == [outcome, "ok"]


@pytest.mark.parametrize("events, words", [
    ([BEGIN, delta("Hello"), BROKEN, *END], "stream_broken"),
    ([BEGIN, delta("Hello"), delta("lost")[:40]], "stream_broken"),
    ([BEGIN, delta("Hello"), frames.exception("throttlingException", {"message": "Too many tokens, please wait."})],
     "Too many tokens"),
])
def test_broken_after_commit(lab, events, words):
    """Goal: after the commit the same is an error in the client's words, without a clean end."""
    keys = Keys()
    _, gateway = gateway_to(lab, both(keys, None, stream(*events)), keys)
    answer = gateway.chat(stream=True)
    assert "Hello" in words_of(answer) and words in words_of(answer)
    assert "[DONE]" not in words_of(answer) and not answer.clean
    assert gateway.entry(answer)["end"] == "upstream_cut"


@pytest.mark.parametrize("error, outcome", [
    (refuse("ThrottlingException", "Too many requests, please wait before trying again.", 429), "rate_limited"),
    (refuse("ValidationException", "Input is too long for requested model.", 400), "context_too_long"),
    (refuse("ValidationException", "The provided model identifier is invalid.", 400), "model_unavailable"),
    (refuse("AccessDeniedException", "You don't have access to the model with the specified model ID."), "model_unavailable"),
    (refuse("ExpiredTokenException", "The security token included in the request is expired"), "credential_error"),
    (refuse("ServiceUnavailableException", "Bedrock is unable to process your request.", 503), "overloaded"),
])
def test_errors(lab, error, outcome):
    """Goal: Bedrock's errors are told apart by the name in their head and by their words."""
    keys = Keys()
    _, gateway = gateway_to(lab, error, keys)
    answer = gateway.chat()
    assert answer.status >= 400 and "error" in answer.json()
    assert gateway.entry(answer)["attempts"][0]["outcome"] == outcome


def test_wrong_keys(lab):
    """Goal: keys that AWS does not take are a credential error, and what AWS repeats of them reaches no client and no log."""
    keys, others = Keys(), Keys(secret_key="another-secret-key-of-ours")
    _, gateway = gateway_to(lab, signed(keys, actions.answer(200, ANSWER)), others)
    answer = gateway.chat()
    assert gateway.entry(answer)["attempts"][0]["outcome"] == "credential_error"
    for secret in ("another-secret-key-of-ours", "AKIDEXAMPLE"):
        assert secret not in words_of(answer) + gateway.stderr + gateway.stdout


def test_a_clock_that_is_wrong(lab):
    """Goal: a signature whose time AWS does not take is a credential error, which the next target makes good."""
    keys = Keys(now=lambda: SIGNED_AT + 10**9)
    spare = lab.upstream(actions.ok("from the spare"))
    _, gateway = gateway_to(lab, signed(keys, actions.answer(200, ANSWER)), Keys(), others={"spare": spare},
                            settings={"trigger": "any"})
    answer = gateway.chat()
    attempts = gateway.entry(answer)["attempts"]
    assert attempts[0]["outcome"] == "credential_error" and attempts[0]["status"] == 403
    assert answer.text == "from the spare"


def test_models_that_are_none(lab):
    """Goal: a client's model that would lead elsewhere in the path is refused, and nothing is sent."""
    keys = Keys()
    up = bedrock(lab, signed(keys, actions.answer(200, ANSWER)), keys.config)
    gateway = lab.failover({"aws": up}, {"targets": ["aws"]})
    for model in ("..", "../../other", "a b", "x?y"):
        answer = gateway.chat(model=model)
        assert answer.status == 400, words_of(answer)
    assert up.count == 0
