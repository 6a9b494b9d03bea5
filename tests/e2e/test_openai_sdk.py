# SPDX-License-Identifier: MIT
"""
The official openai Python SDK, unchanged and with its default settings, through the gateway. On the other side stands
the scripted upstream, so that it is known exactly how often and with what the provider was asked.
"""
import base64
import json
import os
import threading

import openai
import pytest
from support import actions, wire
from support.waiting import wait_until

KEY = "client-secret"
HELLO = [{"role": "user", "content": "hi"}]
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture
def sdk(lab):
    """sdk(upstream, …): a client whose base URL is a gateway in front of the upstreams, in order."""
    clients = []

    def make(*upstreams, key=KEY, **settings):
        providers = {name: up for name, up in zip(("main", "spare"), upstreams)}
        settings.setdefault("targets", list(providers))  # the client's model is passed through
        gateway = lab.failover(providers, settings, config={"keys": [{"name": "app", "secret": KEY}]})
        client = openai.OpenAI(base_url=f"http://{gateway.address}/v1", api_key=key)
        client.gateway = gateway
        clients.append(client)
        return client
    yield make
    for client in clients:
        client.close()


def ask(client, **fields):
    return client.chat.completions.create(model="gpt-4o", messages=HELLO, **fields)


def test_chat(lab, sdk):
    """Goal: a completion comes through as the SDK's own type, the model unchanged, the client's key not passed on."""
    up = lab.upstream(actions.ok("hello there"))
    answer = ask(sdk(up))
    assert answer.choices[0].message.content == "hello there"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 5)
    request, = up.requests
    assert request.json()["model"] == "gpt-4o"
    assert request.header("authorization") == "Bearer sk-provider-main"
    assert KEY not in request.raw_head.decode()


def test_chat_fails_over(lab, sdk):
    """Goal: the SDK sees one good answer while the first provider answers 429; it does not retry by itself."""
    main, spare = lab.upstream(actions.fail(429)), lab.upstream(actions.ok("from the spare"))
    client = sdk(main, spare)
    assert ask(client).choices[0].message.content == "from the spare"
    assert (main.count, spare.count) == (1, 1)
    assert len(client.gateway.log_entries(1)[0]["attempts"]) == 2


def test_stream(lab, sdk):
    """Goal: all deltas arrive in order, with the usage that was asked for."""
    events = [wire.role(), wire.delta("one "), wire.delta("two"), wire.finish(), wire.usage(7, 2), wire.DONE]
    up = lab.upstream(actions.stream(*events))
    chunks = list(ask(sdk(up), stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "one two"
    assert chunks[-1].usage.total_tokens == 9
    assert up.requests[0].json()["stream_options"] == {"include_usage": True}


def test_stream_fails_over(lab, sdk):
    """Goal: a stream that fails before its first content is replaced by the next provider's, whole and alone."""
    main = lab.upstream(actions.stream(wire.role(), wire.error_event(), end="fin"))
    spare = lab.upstream(actions.talk("a", "b"))
    text = "".join(c.choices[0].delta.content or "" for c in ask(sdk(main, spare), stream=True))
    assert text == "ab" and (main.count, spare.count) == (1, 1)


@pytest.mark.parametrize("end", ["fin", "rst", "clean"])
def test_stream_cut_is_an_error(lab, sdk, end):
    """Goal: a stream that breaks after its first content raises; what came before was seen; nobody is asked again."""
    arrived = threading.Event()
    main, spare = lab.upstream(actions.stream(wire.role(), wire.delta("half"), arrived, end=end)), lab.upstream(actions.talk("x"))
    seen = []
    with pytest.raises(openai.APIError):
        for chunk in ask(sdk(main, spare), stream=True):
            seen.append(chunk.choices[0].delta.content or "")
            if "half" in seen:
                arrived.set()
    assert "".join(seen) == "half" and (main.count, spare.count) == (1, 0)


def test_stream_helper(lab, sdk):
    """Goal: the SDK's own accumulating helper works on a relayed stream."""
    with sdk(lab.upstream(actions.talk("one ", "two"))).chat.completions.stream(model="m", messages=HELLO) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "one two" and final.choices[0].finish_reason == "stop"


def test_tools(lab, sdk):
    """Goal: a tool call comes through, in both forms."""
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"moon"}'}}
    up = lab.upstream(
        actions.answer(200, wire.completion(None, finish="tool_calls", tool_calls=[call])),
        actions.stream(
            wire.role(), wire.chunk({"tool_calls": [{"index": 0, **call, "function": {"name": "look", "arguments": ""}}]}),
            wire.chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"at":'}}]}),
            wire.chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"moon"}'}}]}),
            wire.finish("tool_calls"), wire.DONE))
    client = sdk(up)
    got = ask(client, tools=TOOLS).choices[0].message.tool_calls[0]
    assert (got.function.name, json.loads(got.function.arguments)) == ("look", {"at": "moon"})
    deltas = [c.choices[0].delta for c in ask(client, tools=TOOLS, stream=True)]
    parts = [d.tool_calls[0].function.arguments for d in deltas if d.tool_calls]
    assert json.loads("".join(parts)) == {"at": "moon"}
    assert up.requests[0].json()["tools"] == TOOLS


@pytest.mark.parametrize("status, code, error", [
    (400, "invalid_value", openai.BadRequestError),
    (404, "model_not_found", openai.NotFoundError),
    (409, None, openai.ConflictError),
    (422, None, openai.UnprocessableEntityError),
    (429, "rate_limit_exceeded", openai.RateLimitError),
    (500, "server_error", openai.InternalServerError),
    (503, None, openai.InternalServerError),
])
def test_provider_errors(lab, sdk, status, code, error):
    """Goal: a provider's last error raises the SDK's own type with its text and code, after exactly one call."""
    up = lab.upstream(actions.fail(status, "that went wrong", code=code))
    client = sdk(up)
    with pytest.raises(error) as raised:
        ask(client)
    assert (raised.value.status_code, raised.value.code) == (status, code)
    assert "that went wrong" in str(raised.value)
    assert up.count == 1 and len(client.gateway.log_entries(1)) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_refused_provider_key_is_no_client_error(lab, sdk, status):
    """Goal: the provider's refusal of the gateway's key is a 502 for the client, never its own 401."""
    up = lab.upstream(actions.fail(status, "Incorrect API key", code="invalid_api_key"))
    with pytest.raises(openai.InternalServerError) as raised:
        ask(sdk(up))
    assert raised.value.status_code == 502 and up.count == 1


def test_unreachable_provider(lab, sdk):
    """Goal: a provider that nobody listens at is a 502, after one call of the SDK."""
    client = sdk(lab.refusing())
    with pytest.raises(openai.InternalServerError) as raised:
        ask(client)
    assert raised.value.status_code == 502
    assert len(client.gateway.log_entries(1)) == 1


def test_wrong_client_key(lab, sdk):
    """Goal: the gateway's own 401 is an AuthenticationError; no provider is asked."""
    up = lab.upstream(actions.ok())
    with pytest.raises(openai.AuthenticationError) as raised:
        ask(sdk(up, key="wrong"))
    assert raised.value.status_code == 401 and up.count == 0


def test_timeout_of_the_sdk(lab, sdk):
    """Goal: an SDK that gives up cancels what runs upstream."""
    up = lab.upstream(actions.silence())
    with pytest.raises(openai.APITimeoutError):
        ask(sdk(up).with_options(timeout=0.5, max_retries=0))
    wait_until(lambda: up.open_connections == 0, "the upstream call to be cancelled")
    assert up.count == 1


def test_abort_in_mid_stream(lab, sdk):
    """Goal: closing the stream ends the provider's, and is not held against the provider."""
    up = lab.upstream(actions.endless(every=0.02))
    client = sdk(up)
    with ask(client, stream=True) as stream:
        for n, _ in enumerate(stream):
            if n == 3:
                break
    wait_until(lambda: up.open_connections == 0, "the upstream stream to be cancelled")
    entry = client.gateway.log_entries(1)[0]
    assert entry["end"] == "client_gone" and up.count == 1


def test_image_of_8_mb(lab, sdk):
    """Goal: a body of more than 8 MB arrives byte for byte, and again at the second provider."""
    image = "data:image/png;base64," + base64.b64encode(os.urandom(6_200_000)).decode()
    main, spare = lab.upstream(actions.fail(500)), lab.upstream(actions.ok("a moon gate"))
    content = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": image}}]
    answer = sdk(main, spare).chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": content}])
    assert answer.choices[0].message.content == "a moon gate"
    for up in (main, spare):
        assert up.requests[0].json()["messages"][0]["content"] == content


def test_models_list(lab, sdk):
    """Goal: models.list() works and names what the routes offer; no provider is asked."""
    up = lab.upstream(actions.ok())
    models = sdk(up, targets=["main/gpt-4o", "main/gpt-4o-mini"]).models.list().data
    assert {"gpt-4o", "gpt-4o-mini"} <= {m.id for m in models} and up.count == 0
    assert {m.object for m in models} == {"model"}


def test_embeddings(lab, sdk):
    """Goal: an endpoint other than chat goes through."""
    vector = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
    up = lab.upstream(actions.answer(200, {"object": "list", "model": "e", "data": [vector],
                                           "usage": {"prompt_tokens": 1, "total_tokens": 1}}))
    assert sdk(up).embeddings.create(model="e", input="moon").data[0].embedding == [0.5, 0.25]
    assert up.requests[0].path == "/v1/embeddings"


def test_file_upload(lab, sdk, tmp_path):
    """Goal: a multipart upload of 3 MiB arrives byte for byte."""
    content = os.urandom(3 << 20)
    (tmp_path / "training.jsonl").write_bytes(content)
    file = {"id": "file-1", "object": "file", "bytes": len(content), "created_at": 1, "filename": "training.jsonl",
            "purpose": "fine-tune", "status": "processed"}
    up = lab.upstream(actions.answer(200, file))
    with open(tmp_path / "training.jsonl", "rb") as source:
        assert sdk(up).files.create(file=source, purpose="fine-tune").id == "file-1"
    request, = up.requests
    assert request.path == "/v1/files" and request.header("content-type").startswith("multipart/form-data; boundary=")
    assert content in request.body


def test_speech(lab, sdk):
    """Goal: a binary answer of 2 MiB comes through unchanged, as a whole and as a stream."""
    sound = os.urandom(2 << 20)
    up = lab.upstream(actions.answer(200, body=sound, content_type="audio/mpeg"),
                      actions.answer(200, body=sound, content_type="audio/mpeg", framing="chunked"))
    speech = sdk(up).audio.speech
    assert speech.create(model="tts-1", voice="alloy", input="moon").content == sound
    with speech.with_streaming_response.create(model="tts-1", voice="alloy", input="moon") as answer:
        assert b"".join(answer.iter_bytes()) == sound


def test_delete_and_query(lab, sdk):
    """Goal: other methods and queries reach the provider as they are."""
    up = lab.upstream(actions.answer(200, {"id": "file-1", "object": "file", "deleted": True}),
                      actions.answer(200, {"object": "list", "data": []}))
    client = sdk(up)
    assert client.files.delete("file-1").deleted is True
    assert client.files.list(purpose="batch", limit=5).data == []
    assert [r.method for r in up.requests] == ["DELETE", "GET"]
    assert up.requests[1].target in ("/v1/files?limit=5&purpose=batch", "/v1/files?purpose=batch&limit=5")


@pytest.mark.parametrize("stream", [False, True])
def test_async_client(lab, stream):
    """Goal: the asynchronous client, many calls at once over its pool."""
    import asyncio

    up = lab.upstream(actions.talk("hello") if stream else actions.ok("hello"))
    gateway = lab.failover({"main": up}, {"targets": ["main"]})

    async def one(client):
        answer = await client.chat.completions.create(model="m", messages=HELLO, stream=stream)
        if not stream:
            return answer.choices[0].message.content
        return "".join([c.choices[0].delta.content or "" async for c in answer])

    async def many():
        async with openai.AsyncOpenAI(base_url=f"http://{gateway.address}/v1", api_key="any") as client:
            return await asyncio.gather(*[one(client) for _ in range(20)])

    assert asyncio.run(many()) == ["hello"] * 20
    assert up.count == 20
