# SPDX-License-Identifier: MIT
"""The access log where the answer alone does not tell: clients that left, cuts, queues, refusals, usage."""
import threading

import pytest
from support import actions, wire
from support.client import call
from support.waiting import wait_until

FIELDS = {"time", "id", "route", "policy", "generation", "key", "environment", "method", "path", "model", "target",
          "served_model", "stream", "status", "end", "attempts", "queue_ms", "first_token_ms", "total_ms",
          "request_bytes", "response_bytes"}


def test_client_that_left_in_a_stream(lab):
    """Goal: end = client_gone, with the target that was answering."""
    gw = lab.failover({"p": lab.upstream(actions.endless())})
    c = gw.open_chat()
    assert c.start().next_event()
    c.abort()
    entry = gw.log_entries(1)[0]
    assert (entry["end"], entry["target"]) == ("client_gone", "p/p-model") and FIELDS <= set(entry)


def test_client_that_left_before_an_answer(lab):
    """Goal: … and the one that it was waiting for; the target is not blamed."""
    up = lab.upstream(actions.silence())
    gw = lab.failover({"p": up})
    c = gw.open_chat()
    wait_until(lambda: up.count == 1)
    c.abort()
    entry = gw.log_entries(1)[0]
    assert (entry["end"], entry["target"]) == ("client_gone", "p/p-model")
    assert [a["outcome"] for a in entry["attempts"]] == ["client_gone"] and entry["attempts"][0]["class"] is None
    assert gw.facts("p/p-model").get("failures", 0) == 0


def test_stream_that_was_cut(lab):
    """Goal: end = upstream_cut."""
    gw = lab.failover({"p": lab.upstream(actions.stream(wire.role(), wire.delta("x"), end="fin"))})
    answer = gw.chat(stream=True)
    assert not answer.clean and gw.entry(answer)["end"] == "upstream_cut"


def test_no_http_at_all(lab):
    """Goal: what was no request at all is logged with every field, as far as there is one."""
    gw = lab.failover({"p": lab.upstream()})
    with gw.client() as c:
        assert c.send(b"GARBAGE\r\n\r\n").read().status == 400
    entry = gw.log_entries(1)[0]
    assert FIELDS <= set(entry), FIELDS - set(entry)
    assert (entry["status"], entry["end"], entry["attempts"], entry["route"]) == (400, "refused", [], None)


def test_wrong_key(lab):
    """Goal: a request with a wrong key is logged as refused, under no key's name."""
    gw = lab.failover({"p": lab.upstream()}, config={"keys": [{"name": "dev", "secret": "client-secret-dev"}]})
    answer = gw.chat(headers={"x-api-key": "client-wrong-key"})
    assert answer.status == 401
    entry = gw.entry(answer)
    assert FIELDS <= set(entry) and (entry["status"], entry["end"], entry["key"]) == (401, "refused", None)
    assert "client-wrong-key" not in gw.stdout + gw.stderr


def test_time_in_the_queue(lab):
    """Goal: the time that a request waited for a slot, also when it waited in vain."""
    gate = threading.Event()
    up = lab.upstream(lambda c: (c.wait(gate), actions.ok()(c)))
    gw = lab.failover({"p": up}, options={"max_inflight": 1, "queue": 5, "queue_timeout": 0.5})
    with gw.open_chat(stream=False) as first:
        wait_until(lambda: up.count == 1)
        answer = gw.chat()
        assert answer.status == 503 and [t[1] for t in answer.trail] == ["queue_full"]
        assert gw.entry(answer)["queue_ms"] >= 450
        gate.set()
        answer = first.read()
        assert answer.status == 200
    assert gw.entry(answer)["queue_ms"] < 450


USAGES = {
    "embeddings": ("/v1/embeddings", {"object": "list", "data": [{"embedding": [1]}], "usage": {"prompt_tokens": 9, "total_tokens": 9}},
                   {"input": 9}),
    "responses": ("/v1/responses", {"object": "response", "status": "completed",
                                    "output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}],
                                    "usage": {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 2}, "output_tokens": 4,
                                              "output_tokens_details": {"reasoning_tokens": 3}}},
                  {"input": 9, "output": 4, "cached": 2, "reasoning": 3}),
}


@pytest.mark.parametrize("case", USAGES)
def test_usage(lab, case):
    """Goal: the usage of other bodies than chat completions."""
    target, body, usage = USAGES[case]
    gw = lab.failover({"p": lab.upstream(actions.answer(200, body))})
    answer = call(gw.address, target=target, body={"model": "e", "input": "x"})
    assert answer.status == 200
    got = gw.entry(answer)["usage"]
    assert {k: v for k, v in got.items() if v} == usage


def test_error_log_in_a_file(lab):
    """Goal: log.error may be a file beside the configuration; stderr is then left alone."""
    gw = lab.failover({"p": lab.upstream(actions.fail(500))}, config={"log": {"error": "errors.log"}}, start=False)
    gw.start(wait=False)
    log = gw.folder / "errors.log"
    wait_until(lambda: log.exists() and "ready" in log.read_text())
    assert "ready" not in gw.stderr
