# SPDX-License-Identifier: MIT
"""The access log of section 5.8, the trail headers, and the secrets that must be in neither."""
import datetime

import pytest
from support import actions, wire
from support.client import call, chat_body
from support.waiting import wait_until

FIELDS = {"time", "id", "route", "policy", "generation", "key", "environment", "method", "path", "model", "target",
          "served_model", "stream", "status", "end", "attempts", "queue_ms", "first_token_ms", "total_ms",
          "request_bytes", "response_bytes", "usage"}


def test_all_fields(lab):
    """Goal: one line with every field, as things were."""
    p, q = lab.upstream(actions.fail(429)), lab.upstream(actions.answer(200, wire.completion("x", "real-model-1", (11, 7))))
    gw = lab.failover({"p": p, "q": q}, config={"keys": [{"name": "app", "secret": "s-0123456789", "environment": "production"}]})
    body = wire.dumps(chat_body(model="asked"))
    answer = call(gw.address, body=body, headers={"x-api-key": "s-0123456789", "Content-Type": "application/json"})
    entry = gw.entry(answer)
    assert FIELDS - {"first_token_ms"} <= set(entry), FIELDS - set(entry)
    got = {k: entry[k] for k in ("route", "policy", "key", "environment", "method", "path", "model", "target", "stream",
                                 "status", "end", "request_bytes")}
    assert got == {"route": "chat", "policy": "failover", "key": "app", "environment": "production", "method": "POST",
                   "path": "/v1/chat/completions", "model": "asked", "target": "q/q-model", "stream": False, "status": 200,
                   "end": "complete", "request_bytes": len(body)}
    assert entry["id"] == answer.header("x-moongate-request-id")
    assert entry["served_model"] in ("real-model-1", "q-model")
    assert entry["usage"]["input"] == 11 and entry["usage"]["output"] == 7
    assert [(a["target"], a["outcome"], a["class"], a["status"]) for a in entry["attempts"]][0] == (
        "p/p-model", "rate_limited", "rate_limit", 429)
    last = entry["attempts"][1]
    assert (last["target"], last["outcome"], last["status"]) == ("q/q-model", "ok", 200) and last["ms"] >= 0
    assert entry["response_bytes"] >= len(answer.body) and entry["total_ms"] >= 0 and entry["queue_ms"] >= 0
    assert isinstance(entry["generation"], int)
    when = entry["time"]
    if isinstance(when, str):
        when = datetime.datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp()
    assert abs(when - datetime.datetime.now().timestamp()) < 300


def test_stream_fields(lab):
    """Goal: a stream's time to the first content, and its usage with the details seen."""
    up = lab.upstream(actions.stream(wire.role(), 0.3, wire.delta("x"), wire.finish(), wire.usage(
        20, 30, prompt_tokens_details={"cached_tokens": 8}, completion_tokens_details={"reasoning_tokens": 9}), wire.DONE))
    gw = lab.failover({"p": up})
    answer = gw.chat(stream=True)
    assert answer.clean
    entry = gw.entry(answer)
    assert entry["stream"] is True and entry["end"] == "complete"
    assert 290 <= entry["first_token_ms"] <= entry["total_ms"] + 1
    assert entry["usage"] == {"input": 20, "output": 30, "cached": 8, "reasoning": 9}


@pytest.mark.parametrize("request_, status, end", [
    (dict(body=b"[]", headers={"Content-Type": "application/json"}), 400, "refused"),
    (dict(target="/nothing"), 404, "refused"),
])
def test_refused_requests_are_logged(lab, request_, status, end):
    """Goal: what the gateway refuses is in the log too."""
    gw = lab.failover({"p": lab.upstream()})
    answer = call(gw.address, **{"body": chat_body(), **request_})
    assert answer.status == status
    entry = gw.entry(answer)
    assert entry["status"] == status and entry["end"] == end and entry["attempts"] == []


def test_trail_can_be_switched_off(lab):
    """Goal: log.trail = false: no header, and the log is as before."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"log": {"trail": False}})
    answer = gw.chat()
    assert answer.header("x-moongate-attempts") is None and answer.header("x-moongate-request-id")
    assert len(gw.entry(answer)["attempts"]) == 1


def test_trail_of_a_stream(lab):
    """Goal: a stream's head carries id, target and trail."""
    gw = lab.failover({"p": lab.upstream(actions.fail(500)), "q": lab.upstream(actions.talk("x"))})
    answer = gw.chat(stream=True)
    assert answer.trail == [("p/p-model", "server_error", 500), ("q/q-model", "ok", 200)]
    assert answer.header("x-moongate-target") == "q/q-model" and answer.header("x-moongate-request-id")


def test_request_ids_differ(lab):
    """Goal: every request has an id of its own."""
    gw = lab.failover({"p": lab.upstream(actions.ok())})
    ids = {gw.chat().header("x-moongate-request-id") for _ in range(20)}
    assert len(ids) == 20


def test_log_to_files(lab):
    """Goal: access and error logs may be files, relative to the configuration."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"log": {"access": "access.log"}})
    assert gw.chat().status == 200
    wait_until(lambda: (gw.folder / "access.log").exists() and (gw.folder / "access.log").read_text().endswith("}\n"))
    assert gw.stdout == ""


def test_hostile_values_keep_the_log_readable(lab):
    """Goal: models, paths and headers with quotes, line breaks and broken UTF-8 leave every line JSON."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, {"targets": ["p"]})
    answer = gw.chat(model='a"b\\c\n\u2028é\x07')
    assert answer.status == 200
    assert call(gw.address, "GET", '/v1/x"y\\z?a="b').status in (200, 400)
    body = b'{"model":"\xff\xfe"}'
    assert call(gw.address, body=body, headers={"Content-Type": "application/json"}).status in (200, 400)
    assert len(gw.log_entries(3)) == 3
    assert gw.entry(answer)["model"] == 'a"b\\c\n\u2028é\x07'


MARKERS = {"prompt": "canary-prompt-1111", "answer": "canary-answer-2222", "client": "canary-client-3333",
           "provider": "canary-provider-4444", "query": "canary-query-5555", "token": "canary-token-6666",
           "other": "canary-cookie-7777"}


@pytest.mark.parametrize("level", ["debug", "info"])
def test_L05_no_secret_and_no_prompt_anywhere(lab, level):
    """Goal: keys, tokens, prompts and answers are in no log line, metric, admin answer or error, at any level."""
    p = lab.upstream(actions.ok(MARKERS["answer"]), actions.fail(500, "echo " + MARKERS["provider"]),
                     actions.fail(401, "bad key " + MARKERS["provider"]),
                     actions.stream(wire.delta(MARKERS["answer"]), 0.1, end="fin"),
                     actions.raw(b"nonsense " + MARKERS["provider"].encode()), actions.hang_up("rst"),
                     actions.answer(200, body=b'{"broken": "' + MARKERS["provider"].encode()),
                     actions.ok(MARKERS["answer"]))
    p.on("/v1/models", actions.fail(401, "bad key " + MARKERS["provider"]), actions.ok())
    p.options = {"api_key": MARKERS["provider"], "health": {"path": "/models", "interval": 0.2, "down": 1000}}
    gw = lab.failover({"p": p}, config={"log": {"level": level}, "keys": [{"name": "app", "secret": MARKERS["client"]}],
                                        "admin": {"listen": "127.0.0.1:0", "token": MARKERS["token"]}})
    headers = {"Authorization": "Bearer " + MARKERS["client"], "Cookie": MARKERS["other"]}
    target = "/v1/chat/completions?key=" + MARKERS["query"]
    bodies = []
    for n in range(8):
        answer = gw.chat(stream=n == 3, headers=headers, target=target, user=MARKERS["prompt"],
                         messages=[{"role": "user", "content": MARKERS["prompt"]}])
        bodies.append(answer.body)
        seen = str(answer.headers).encode() + answer.body
        assert not any(MARKERS[k].encode() in seen for k in ("client", "provider", "query", "token", "other")), seen
    assert p.count >= 8
    gw.chat(headers={"Authorization": "Bearer " + MARKERS["client"] + "x"}, target=target)
    call(gw.address, body=b'{"model":"m","model":"' + MARKERS["prompt"].encode() + b'"}',
         headers={**headers, "Content-Type": "application/json"})
    call(gw.address, body=b'{"model":"m", ' + MARKERS["prompt"].encode(), headers={**headers, "Content-Type": "application/json"})
    gw.log_entries(11)
    admin = b"".join(gw.admin_get(path, MARKERS["token"]).body for path in
                     ("/metrics", "/healthz", "/readyz", "/admin/status", "/admin/targets"))
    gw.reload()
    gw.stop()
    everything = gw.stdout + gw.stderr + admin.decode()
    for name, marker in MARKERS.items():
        at = everything.find(marker)
        assert at < 0, (name, everything[max(0, at - 200):at + 100])


def test_policy_errors_do_not_print_requests(lab):
    """Goal: a policy that raises with a prompt in its message is its author's fault; the core adds no content."""
    gw = lab.policy({"p": lab.upstream(actions.ok())}, "local x = nil\nreturn x.y")
    assert gw.chat(messages=[{"role": "user", "content": MARKERS["prompt"]}]).status == 200
    gw.wait_log(r"own\.lua:7")
    assert MARKERS["prompt"] not in gw.stderr + gw.stdout
