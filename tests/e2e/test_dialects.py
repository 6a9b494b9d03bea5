# SPDX-License-Identifier: MIT
"""
Which dialect a client speaks, told by its path, its fields and its route, and what it is then answered with: errors before any route, models,
a model in the path. The dialects are files of the test's own, so that nothing here depends on what a shipped one says.
"""
import subprocess

import pytest
from support import actions
from support.client import assert_openai_error, call
from support.gateway import BINARY

OWN = """return {
  prefix = "/own", model = "path", auth = "header:x-own-key", headers = { ["x-own-version"] = "1" },
  client = { generate = "/own/{model}:say", stream = "/own/{model}:stream", paths = "/own/*", headers = "x-own" },
  stream = { rules = { { "content", filled = "text" }, { "finish", "end", filled = "end" }, { "error", filled = "error" } } },
  errors = { message = "why" },
  say = { error = '{"why":$message,"kind":$type}', type = { { "lost", status = 404 }, { "locked", status = 401 } } },
  models = { path = "/own/models", list = '{"all":[$models]}', item = '{"m":$model}' },
}
"""


def check(folder):
    return subprocess.run([str(BINARY), "check", "-c", str(folder / "gateway.lua")], capture_output=True, text=True, timeout=60)


@pytest.fixture
def own(lab):
    """A gateway in front of a provider of the dialect `own`; gives both."""
    up = lab.upstream(actions.answer(200, {"text": "hi"}))
    gw = lab.gateway({
        "providers": {"p": {"dialect": "own", "base_url": up.base_url, "api_key": "sk-provider-p"}},
        "routes": [{"name": "own", "path": "/own/*", "models": ["fast", "other"], "policy": "failover", "settings": {"targets": ["p/real"]}},
                   {"name": "forced", "path": "/forced", "methods": ["POST"], "policy": "failover", "dialect": "own",
                    "settings": {"targets": ["p/real"]}}],
    }, files={"lua/dialects/own.lua": OWN})
    return gw.start(), up


def test_errors_before_any_route(own):
    """Goal: what is refused before a route is found is said in the dialect that path or fields tell, else in OpenAI's."""
    gw, _ = own
    assert_openai_error(call(gw.address, "GET", "/none"), 404, "unknown_path")
    answer = call(gw.address, "GET", "/none", {"X-Own": "1"})
    assert answer.status == 404 and answer.json() == {"why": "no route of this gateway has this path", "kind": "lost"}
    answer = call(gw.address, "POST", "/own/unheard:say", body={})
    assert answer.status == 404 and answer.json()["why"] == "no route serves the model that was asked for"
    assert_openai_error(call(gw.address, "GET", "/forced"), 405, "method_not_allowed")


def test_a_key_that_is_refused(own):
    """Goal: a 401, too."""
    gw, _ = own
    gw.folder.joinpath("gateway.lua").write_text(
        gw.folder.joinpath("gateway.lua").read_text().replace("return {", 'return { keys = { { name = "k", secret = "sk-secret-k" } },', 1))
    gw.reload()
    answer = call(gw.address, "POST", "/own/fast:say", body={})
    assert answer.status == 401 and answer.json()["kind"] == "locked"


def test_model_in_the_path(own):
    """Goal: the model is read in the path and put there, the body passes as it is, with the dialect's credential and fields."""
    gw, up = own
    answer = call(gw.address, "POST", "/own/fa%73t:say?x=1", {"content-type": "application/json"}, b'{"model":"kept"}')
    assert answer.status == 200 and answer.json() == {"text": "hi"}
    got = up.requests[0]
    assert got.target == "/v1/real:say?x=1" and got.body == b'{"model":"kept"}'
    assert got.header("x-own-key") == "sk-provider-p" and got.header("x-own-version") == "1" and got.header("authorization") is None
    entry = gw.entry(answer)
    assert entry["model"] == "fast" and entry["attempts"][0]["target"] == "p/real"


def test_models_in_the_client_s_words(own):
    """Goal: the list of models stands where the dialect has it, and as it writes it."""
    gw, _ = own
    assert call(gw.address, "GET", "/own/models").json() == {"all": [{"m": "fast"}, {"m": "other"}, {"m": "real"}]}
    assert call(gw.address, "GET", "/v1/models").json()["object"] == "list"


def test_stream_of_another_shape(own):
    """Goal: gate and relay go by the dialect's own events; a stream that breaks ends with an error event as it says errors."""
    gw, up = own
    events = b'data: {"role":1}\n\ndata: {"text":"a"}\n\n'
    up.script(actions.answer(200, body=events + b'data: {"end":[1]}\n\ndata: {"late":1}\n\n', content_type="text/event-stream"))
    answer = call(gw.address, "POST", "/own/fast:stream", body={})
    assert answer.clean and answer.body == events + b'data: {"end":[1]}\n\n'
    up.script(actions.answer(200, body=events, content_type="text/event-stream"))
    answer = call(gw.address, "POST", "/own/fast:stream", body={})
    assert answer.body == events + b'data: {"why":"the answer broke off: stream_broken","kind":"upstream_error"}\n\n'


def test_responses_stream_that_breaks(lab):
    """Goal: a client of /v1/responses gets its own kind of error event, untouched bytes before it."""
    event = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"x"}\n\n'
    up = lab.upstream(actions.answer(200, body=event, content_type="text/event-stream"))
    gw = lab.failover({"p": up})
    answer = gw.chat(target="/v1/responses", stream=True)
    assert answer.body.startswith(event + b"event: response.failed\ndata: ")
    assert b'"error":{"code":"stream_broken","message":"the answer broke off' in answer.body


def test_a_name_that_is_none(lab):
    """Goal: a dialect that is not there is told with its line, where it was looked for, and the nearest."""
    gw = lab.failover({"p": lab.upstream()}, options={"dialect": "opnai"}, start=False)
    done = check(gw.folder)
    text = done.stdout + done.stderr
    assert done.returncode == 1 and 'there is no dialect "opnai": no file lua/dialects/opnai.lua' in text
    assert 'did you mean "openai"?' in text


def test_an_edit_counts_at_the_reload(own):
    """Goal: a dialect's file is hot-reloaded, and one with a mistake is refused with its place."""
    gw, _ = own
    gw.write("lua/dialects/own.lua", OWN.replace('"lost"', '"gone"'))
    gw.reload()
    assert call(gw.address, "GET", "/none", {"X-Own": "1"}).json()["kind"] == "gone"
    gw.write("lua/dialects/own.lua", OWN.replace("headers = \"x-own\"", "haeders = \"x-own\""))
    done = check(gw.folder)
    assert done.returncode == 1 and "lua/dialects/own.lua:3" in done.stdout + done.stderr
