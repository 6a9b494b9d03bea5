# SPDX-License-Identifier: MIT
"""What the client gets when an attempt without a usable answer is returned, and the rule on our credentials."""
import threading

import pytest
from support import actions, wire
from support.client import assert_openai_error, call
from support.waiting import PATIENCE, wait_until

CUT = actions.raw(actions.head(200, {"Content-Type": "application/json", "Content-Length": 100}) + b"{}")
PLAIN = {
    "empty": (actions.answer(200, body=b""), 502), "invalid": (actions.answer(200, body=b"{not json"), 502),
    "broken": (CUT, 502), "hang-up": (actions.hang_up(), 502), "silent": (actions.silence(), 504),
}


@pytest.mark.parametrize("case", PLAIN)
def test_status_of_an_answer_that_is_none(lab, case):
    """Goal: 502 for what is broken, 504 for what is late, in the dialect's shape, and SDKs are told not to repeat it."""
    script, status = PLAIN[case]
    answer = lab.failover({"p": lab.upstream(script)}, {"request_timeout": 0.7}).chat()
    assert_openai_error(answer, status)
    assert answer.header("x-should-retry") == "false"


def test_connection_that_does_not_come_about(lab):
    """Goal: a connection that takes too long is a timeout, 504."""
    answer = lab.failover({"p": lab.black_hole()}, options={"connect_timeout": 0.3}).chat()
    assert answer.status == 504 and [t[1] for t in answer.trail] == ["timeout_connect"]


@pytest.mark.parametrize("error, status", [
    (("rate_limit_error", "rate_limit_exceeded"), 429), (("insufficient_quota", "insufficient_quota"), 429),
    (("server_error", None), 500), (("api_error", None), 500), (("internal_server_error", None), 500),
    (("overloaded_error", None), 503), (("service_unavailable", None), 503), (("timeout", None), 504),
    (("invalid_request_error", None), 400), (("not_found_error", None), 404),
    (("authentication_error", "invalid_api_key"), 502), (("permission_error", None), 502),
    (("invalid_request_error", "invalid_api_key"), 502),
], ids=lambda x: x[0] if isinstance(x, tuple) else str(x))
def test_status_of_an_error_event(lab, error, status):
    """Goal: an error event before content gets the status that its type stands for; a fault of our key is a bad gateway."""
    up = lab.upstream(actions.stream(wire.role(), wire.error_event("told by the provider", *error)))
    answer = lab.failover({"p": up}).chat(stream=True)
    assert_openai_error(answer, status)
    assert answer.header("x-should-retry") == "false"
    if status != 502:
        assert answer.json()["error"]["message"] == "told by the provider"


def test_error_inside_a_200(lab):
    """Goal: the same for a plain answer that is an error with status 200."""
    for error, status in ((("rate_limit_error", "rate_limit_exceeded"), 429), (("authentication_error", "invalid_api_key"), 502)):
        up = lab.upstream(actions.answer(200, wire.error_body("told by the provider", *error)))
        assert_openai_error(lab.failover({"p": up}).chat(), status)


def test_responses_error_object(lab):
    """Goal: a failed answer of the responses API keeps the provider's own error object."""
    failed = {"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error", "message": "own words"}}}
    event = b"event: response.failed\ndata: " + wire.dumps(failed) + b"\n\n"
    up = lab.upstream(actions.stream(event))
    answer = call(lab.failover({"p": up}).address, target="/v1/responses", body={"model": "m", "stream": True, "input": "x"})
    assert answer.status == 500
    assert (answer.json()["error"]["message"], answer.json()["error"]["code"]) == ("own words", "server_error")


def test_hints_are_passed_on(lab):
    """Goal: the provider's Retry-After reaches the client; its x-should-retry is replaced by ours, once."""
    up = lab.upstream(actions.fail(429, headers={"x-should-retry": "true", "retry-after": "7", "retry-after-ms": "7000"}))
    answer = lab.failover({"p": up}).chat()
    assert answer.all("x-should-retry") == ["false"]
    assert (answer.header("retry-after"), answer.header("retry-after-ms")) == ("7", "7000")


@pytest.mark.parametrize("stream", [False, True])
def test_filtered_answer_is_handed_over(lab, stream):
    """Goal: a 200 judged content_filtered is handed over as it came when nobody else answers."""
    body = wire.completion("", finish="content_filter")
    up = lab.upstream(actions.stream(wire.role(), wire.finish("content_filter"), wire.DONE) if stream else actions.answer(200, body))
    answer = lab.failover({"p": up}).chat(stream=stream)
    assert answer.status == 200 and answer.clean and [t[1] for t in answer.trail] == ["content_filtered"]
    assert b"content_filter" in answer.body and (not stream or b"[DONE]" in answer.body)


@pytest.mark.parametrize("status", [400, 405, 408, 409, 418, 422, 451, 499, 502, 503, 520, 529, 599])
def test_statuses_come_as_they_are(lab, status):
    """Goal: an answer with a status of its own is handed over in it."""
    answer = lab.failover({"p": lab.upstream(actions.fail(status, "own words"))}, {"trigger": []}).chat()
    assert answer.status == status and answer.json()["error"]["message"] == "own words" and len(answer.trail) == 1


def refused(answer):
    """The 502 that says that our credentials were refused, and nothing of what the provider said."""
    error = assert_openai_error(answer, 502)
    assert error["code"] == "provider_credentials_refused" and "credential" in error["message"]
    assert answer.header("x-should-retry") == "false" and b"Incorrect" not in answer.body


@pytest.mark.parametrize("status", [400, 401, 402, 403])
@pytest.mark.parametrize("choice", ["last_error", "first_error"])
def test_our_credentials_refused(lab, status, choice):
    """Goal: when all that failed is our credentials the client gets a 502, never a fault of its own key."""
    ups = {n: lab.upstream(actions.fail(status, "Incorrect API key", "invalid_request_error", "invalid_api_key")) for n in "pq"}
    answer = lab.failover(ups, {"when_exhausted": choice}).chat()
    refused(answer)
    assert [t[1] for t in answer.trail] == ["credential_error"] * 2


HANDLERS = {
    "returned": "return req:send('p/x')",
    "answered-with": "local a = req:send('p/x')\nreturn req:respond { status = a.status, body = a:body() }",
    "relabelled": "local a = req:send('p/x')\na:fail('server_error')\nreturn a",
    "crashed": "req:send('p/x')\nerror('z')",
    "nothing": "req:send('p/x')",
}


@pytest.mark.parametrize("deny", [False, True])
@pytest.mark.parametrize("case", HANDLERS)
def test_our_credentials_whatever_the_policy(lab, case, deny):
    """Goal: no policy, whatever it does with the attempt, lets our 401 out to the client."""
    up = lab.upstream(actions.fail(401, "Incorrect API key"))
    answer = lab.policy({"p": up}, HANDLERS[case], route={"on_error": "deny"} if deny else None).chat()
    if deny and case in ("crashed", "nothing"):
        assert_openai_error(answer)
        assert answer.status in (500, 502) and b"Incorrect" not in answer.body
    else:
        refused(answer)


def test_own_key_of_the_client(lab):
    """Goal: with auth = "passthrough" it is the client's own key, and the 401 is handed on."""
    p = lab.upstream(actions.fail(401, "Incorrect API key"))
    p.options = {"auth": "passthrough", "api_key": None}
    answer = lab.failover({"p": p}).chat(headers={"authorization": "Bearer mine"})
    assert answer.status == 401 and b"Incorrect" in answer.body


def test_own_key_and_ours(lab):
    """Goal: with both kinds in one request, the client gets its own 401, but never ours."""
    p, q = lab.upstream(actions.fail(401, "about the client's")), lab.upstream(actions.fail(401, "Incorrect: ours"))
    p.options = {"auth": "passthrough", "api_key": None}
    gw = lab.policy({"p": p, "q": q}, "local a, b = req:send('p/x'), req:send('q/x')\nreturn req:header('x-theirs') and a or b")
    mine = {"authorization": "Bearer mine"}
    refused(gw.chat(headers=mine))
    answer = gw.chat(headers={**mine, "X-Theirs": "1"})
    assert answer.status == 401 and answer.json()["error"]["message"] == "about the client's"


def test_own_limit_suspends_nobody(lab):
    """Goal: a 429 or 401 on the client's own key is no reason to leave the target alone."""
    p, q = lab.upstream(actions.fail(429, headers={"retry-after": "20"}), actions.fail(401), actions.ok()), lab.upstream(actions.ok())
    p.options = {"auth": "passthrough", "api_key": None}
    gw = lab.failover({"p": p, "q": q}, {"suspend": 60, "breaker": {"failures": 1}})
    for trail in ("rate_limited", "credential_error", "ok"):
        assert gw.chat(headers={"authorization": "Bearer mine"}).trail[0][:2] == ("p/p-model", trail)


@pytest.mark.parametrize("code", ["local a = req:start('p/x')\nreq:sleep(0.2)", "local a = req:send('p/x')"], ids=["waiting", "answering"])
def test_cancelled_attempt_is_no_answer(lab, code):
    """Goal: an attempt that was cancelled and then returned is a 502, not half an answer."""
    gate = threading.Event()
    begun = [] if "start" in code else [wire.delta("half")]
    up = lab.upstream(actions.stream(wire.role(), *begun, gate, wire.delta("late"), wire.finish(), wire.DONE))
    answer = lab.policy({"p": up}, f"{code}\na:cancel()\nreturn a").chat(stream=True)
    assert_openai_error(answer, 502)
    assert b"half" not in answer.body and answer.trail[0][:1] == ("p/x",) and answer.trail[0][1] != "ok"
    assert up.calls[0].finished.wait(PATIENCE) and up.calls[0].ended == "gone"


def test_queue_full_says_when(lab):
    """Goal: a full queue is a 503 with Retry-After."""
    up = lab.upstream(actions.silence())
    gw = lab.failover({"p": up}, options={"max_inflight": 1, "queue": 0})
    with gw.open_chat():
        wait_until(lambda: up.count == 1)
        answer = gw.chat()
    assert_openai_error(answer, 503)
    assert int(answer.header("retry-after")) >= 1 and answer.trail == [("p/p-model", "queue_full", 0)]


def test_every_choice_when_all_failed(lab):
    """Goal: when_exhausted: the last, the first that is no credential failure, or one of the gateway's own."""
    p, q, z = (lab.upstream(actions.fail(s)) for s in (500, 401, 503))
    ups = {"p": p, "q": q, "z": z}
    for choice, order, status in (("last_error", "pqz", 503), ("first_error", "qpz", 500), ("unavailable", "pqz", 502)):
        answer = lab.failover({n: ups[n] for n in order}, {"when_exhausted": choice}).chat()
        assert (answer.status, answer.header("x-should-retry"), len(answer.trail)) == (status, "false", 3), choice
