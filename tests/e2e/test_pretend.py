# SPDX-License-Identifier: MIT
"""examples/pretend-providers: each endpoint and each fault of its README does what it says."""
import json

import pytest
from support.client import Client, chat_body
from support.folders import Pretend, data, text
from support.waiting import wait_until

TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


@pytest.fixture(scope="module")
def pretend(tmp_path_factory):
    provider = Pretend(tmp_path_factory.mktemp("pretend"))
    yield provider
    provider.stop()


@pytest.fixture(autouse=True)
def mended(pretend):
    yield
    pretend.mend()


def test_chat_names_who_answers(pretend):
    """Goal: the text says which provider answered and as which model; usage is there."""
    answer = pretend.ask("gpt-4o-mini", prefix="/as/alpha")
    assert (answer.status, answer.json()["model"]) == (200, "gpt-4o-mini")
    assert answer.text == "Hello, this is alpha speaking as gpt-4o-mini."
    assert answer.json()["usage"]["total_tokens"] > 0


def test_stream_has_usage_when_asked(pretend):
    """Goal: a stream says the same, ends with [DONE], and has usage only with include_usage."""
    plain = pretend.ask(prefix="/as/alpha", stream=True)
    usage = pretend.ask(prefix="/as/alpha", stream=True, stream_options={"include_usage": True})
    assert plain.clean and usage.clean
    assert text(plain) == text(usage) == "Hello, this is alpha speaking as gpt-4o."
    assert data(plain)[-1] == data(usage)[-1] == "[DONE]"
    last = json.loads(data(usage)[-2])
    assert last["choices"] == [] and last["usage"]["completion_tokens"] == 7
    assert "usage" not in json.loads(data(plain)[-2])


def test_tool_calls(pretend):
    """Goal: a tool that is offered is called, in both forms; its result is answered with words."""
    choice = pretend.ask(tools=TOOLS).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}
    events = [json.loads(e)["choices"][0]["delta"] for e in data(pretend.ask(tools=TOOLS, stream=True))[:-1]]
    calls = [e["tool_calls"][0]["function"]["arguments"] for e in events if "tool_calls" in e]
    assert calls == ["", "{}"]
    messages = [{"role": "user", "content": "?"}, {"role": "tool", "tool_call_id": "1", "content": "seen"}]
    assert "speaking as" in pretend.ask(tools=TOOLS, messages=messages).text


def test_models_and_embeddings(pretend):
    """Goal: the two other endpoints answer; anything else is a 404 in OpenAI's shape."""
    models = pretend.call("GET", "/as/alpha/v1/models").json()
    assert [m["id"] for m in models["data"]] == ["gpt-4o", "gpt-4o-mini"]
    answer = pretend.call("POST", "/as/alpha/v1/embeddings", {"model": "e", "input": ["one", "two"]}).json()
    assert [d["index"] for d in answer["data"]] == [0, 1]
    assert answer["data"][0]["embedding"] != answer["data"][1]["embedding"]
    nothing = pretend.call("POST", "/as/alpha/v1/nothing", {})
    assert nothing.status == 404 and "error" in nothing.json()


def test_status_and_retry_after(pretend):
    """Goal: the status, its code and Retry-After come from the path."""
    assert pretend.ask(prefix="/status/503").status == 503
    answer = pretend.ask(prefix="/retry-after/2")
    assert (answer.status, answer.header("retry-after")) == (429, "2")
    answer = pretend.ask(prefix="/status/400/code/context_length_exceeded")
    assert (answer.status, answer.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_delay(pretend):
    """Goal: a delayed answer comes whole, and not before its time."""
    answer = pretend.ask(prefix="/delay/0.3")
    assert answer.status == 200 and answer.elapsed >= 0.3


def test_broken_streams(pretend):
    """Goal: cut, malformed, empty and error-in-200, each as a client sees it."""
    cut = pretend.ask(prefix="/cut/3", stream=True)
    assert not cut.clean and text(cut) == "Hello, this"
    malformed = pretend.ask(prefix="/malformed/2", stream=True)
    with pytest.raises(json.JSONDecodeError):
        json.loads(data(malformed)[-1])
    empty = pretend.ask(prefix="/empty", stream=True)
    assert text(empty) == "" and data(empty)[-1] == "[DONE]"
    error = pretend.ask(prefix="/error-in-200", stream=True)
    assert (error.status, json.loads(data(error)[0])["error"]["code"]) == (200, "server_error")


def test_broken_plain_answers(pretend):
    """Goal: the same faults of answers that are no streams."""
    assert not pretend.ask(prefix="/cut/3").clean
    with pytest.raises(json.JSONDecodeError):
        pretend.ask(prefix="/malformed/1").json()
    assert pretend.ask(prefix="/empty").body == b""
    assert "error" in pretend.ask(prefix="/error-in-200").json()


def test_stall(pretend):
    """Goal: a stalled stream sends what stands before the stall, and then nothing while the client waits."""
    with Client(pretend.address, timeout=3.0) as c:
        answer = c.request("POST", "/stall/3/v1/chat/completions", body=chat_body(True)).start()
        with pytest.raises(TimeoutError):
            answer.rest()
    assert text(answer) == "Hello, this"


def test_faults_combine(pretend):
    """Goal: several faults of one path all happen."""
    answer = pretend.ask(prefix="/as/alpha/delay/0.2/pace/0.05/cut/4", stream=True)
    assert answer.elapsed >= 0.35 and not answer.clean and text(answer) == "Hello, this is"


def test_random_is_seeded(pretend, tmp_path):
    """Goal: the same seed meets the same luck in the same order; 0 % never fails, 100 % always."""
    def luck(provider, prefix, n):
        answers = [provider.ask(prefix=prefix, stream=True) for _ in range(n)]
        return [(a.status, a.clean, len(data(a))) for a in answers]

    other = Pretend(tmp_path)
    try:
        first = luck(pretend, "/random/seven/50", 12)
        assert first == luck(other, "/random/seven/50", 12)
    finally:
        other.stop()
    well = (200, True, 10)  # the role, seven words, the finish reason, [DONE]
    assert well in first and any(one != well for one in first)
    assert luck(pretend, "/random/a/0", 5) == [well] * 5
    assert well not in luck(pretend, "/random/a/100", 5)


def test_fault_at_run_time(pretend):
    """Goal: a fault is switched on for one provider, or one model of it, and off again; an unknown one is refused."""
    pretend.fault("alpha", "status/503")
    assert [pretend.ask(prefix=f"/as/{p}").status for p in ("alpha", "beta")] == [503, 200]
    pretend.fault("alpha", "")
    pretend.fault("alpha/gpt-4o", "status/404")
    assert [pretend.ask(m, prefix="/as/alpha").status for m in ("gpt-4o", "x")] == [404, 200]
    assert pretend.call("POST", "/pretend/fault", {"fault": "explode/7"}).status == 400
    assert pretend.ask(prefix="/explode/7").status == 404


def test_fault_for_a_time(pretend):
    """Goal: a fault given with seconds ends by itself."""
    answer = pretend.call("POST", "/pretend/fault", {"provider": "brief", "fault": "status/503", "seconds": 2})
    assert answer.status == 200 and pretend.ask(prefix="/as/brief").status == 503
    wait_until(lambda: pretend.ask(prefix="/as/brief").status == 200, "the fault to end", pause=0.05)
