# SPDX-License-Identifier: MIT
"""SCENARIOS.tsv, group A: retries on one target, waits, and what a provider's hints do to them."""
import pytest
from support import actions
from support.client import assert_openai_error
from support.waiting import PATIENCE

BACKOFF = {"base": 0.1, "jitter": "none"}


def gaps(up):
    """Seconds from the end of one request's arrival to the arrival of the next."""
    times = [r.at for r in up.requests]
    return [b - a for a, b in zip(times, times[1:])]


def assert_at_least(seconds, least):
    """A lower bound, less what the two clocks involved may differ by."""
    assert seconds >= least - 0.02, (seconds, least)


def test_A01_retries_with_exponential_waits(lab):
    """Goal: 500, 500, 200: the third answer, and the second wait is twice the first."""
    p = lab.upstream(actions.fail(500), actions.fail(500), actions.ok("third"))
    gw = lab.failover({"p": p}, {"retries": 2, "retry_on": [429, 500, 502, 503, 504],
                                 "backoff": {"base": 0.25, "jitter": "none"}})
    answer = gw.chat()
    assert (answer.status, answer.text, p.count) == (200, "third", 3)
    assert_at_least(gaps(p)[0], 0.25)
    assert_at_least(gaps(p)[1], 0.5)


def test_A02_exhausted_retries_give_the_last_answer(lab):
    """Goal: the last failure is handed over as it came, with the trail, and clients are told not to repeat."""
    p = lab.upstream(*[actions.fail(500, f"failure {n}", content_type="application/json; charset=utf-8")
                       for n in (1, 2, 3, 4)])
    gw = lab.failover({"p": p}, {"retries": 2, "retry_on": ["5xx"], "backoff": BACKOFF})
    answer = gw.chat()
    assert answer.status == 500 and answer.json()["error"]["message"] == "failure 3"
    assert answer.header("content-type") == "application/json; charset=utf-8"
    assert answer.trail == [("p/p-model", "server_error", 500)] * 3
    assert answer.header("x-should-retry") == "false"
    gw.stop()
    assert p.count == 3


def test_A03_bad_request_is_not_repeated(lab):
    """Goal: a 400 passes unchanged, after one call."""
    p = lab.upstream(actions.fail(400, "no such field: foo", "invalid_request_error", "bad_field"), actions.ok())
    answer = lab.failover({"p": p}, {"retries": 3, "backoff": BACKOFF}).chat()
    assert answer.status == 400 and p.count == 1
    assert answer.json()["error"] == {"message": "no such field: foo", "type": "invalid_request_error",
                                      "param": None, "code": "bad_field"}


def test_A04_hint_is_waited_for(lab):
    """Goal: Retry-After replaces the back-off."""
    p = lab.upstream(actions.fail(429, headers={"Retry-After": "1"}), actions.ok())
    answer = lab.failover({"p": p}, {"retries": 3, "backoff": BACKOFF}).chat()
    assert (answer.status, p.count) == (200, 2)
    assert_at_least(gaps(p)[0], 1.0)


@pytest.mark.parametrize("header", ["retry-after-ms", "x-ms-retry-after-ms"])
def test_A04_hint_in_milliseconds(lab, header):
    """Goal: the same with the hints that some providers give in milliseconds."""
    p = lab.upstream(actions.fail(429, headers={header: "700"}), actions.ok())
    answer = lab.failover({"p": p}, {"retries": 1, "backoff": BACKOFF}).chat()
    assert (answer.status, p.count) == (200, 2)
    assert_at_least(gaps(p)[0], 0.7)


def test_A06_hint_beyond_what_is_tolerated(lab):
    """Goal: a hint of two minutes ends the retries at once; the client gets the 429 with the hint on it."""
    p = lab.upstream(actions.fail(429, headers={"Retry-After": "120"}), actions.ok())
    answer = lab.failover({"p": p}, {"retries": 3, "retry_after": {"honour": True, "max": 60}}).chat()
    assert (answer.status, p.count) == (429, 1)
    assert answer.header("retry-after") == "120"
    assert answer.elapsed < 100


def test_A08_unreadable_hint(lab):
    """Goal: a hint that is no number and no date is ignored, and our own back-off used."""
    p = lab.upstream(actions.fail(429, headers={"Retry-After": "soon"}), actions.ok())
    answer = lab.failover({"p": p}, {"retries": 1, "backoff": BACKOFF}).chat()
    assert (answer.status, p.count) == (200, 2)
    assert_at_least(gaps(p)[0], 0.1)


def test_A10_hint_not_honoured(lab):
    """Goal: with honour = false the hint of 100 s does not hold the retry up."""
    p = lab.upstream(actions.fail(429, headers={"Retry-After": "100"}), actions.ok())
    answer = lab.failover({"p": p}, {"retries": 1, "retry_after": {"honour": False, "max": 100},
                                     "backoff": {"base": 0.2, "jitter": "none"}}).chat()
    assert (answer.status, p.count) == (200, 2)
    assert_at_least(gaps(p)[0], 0.2)
    assert gaps(p)[0] < 95


def test_A11_attempt_that_never_answers(lab):
    """Goal: the limit of one attempt ends it, its connection is closed, and the retry succeeds."""
    p = lab.upstream(actions.silence(), actions.ok())
    answer = lab.failover({"p": p}, {"retries": 1, "request_timeout": 1.5, "backoff": BACKOFF}).chat()
    assert (answer.status, p.count) == (200, 2)
    assert answer.elapsed >= 1.5
    assert answer.trail[0][0] == "p/p-model" and answer.trail[0][1].startswith("timeout_")
    first = p.calls[0]
    assert first.finished.wait(PATIENCE) and first.ended == "gone"


def test_A13_refused_credentials(lab):
    """Goal: a provider's 401 becomes a 502 that speaks of the gateway's credentials; it is not repeated."""
    p = lab.upstream(actions.fail(401, "Incorrect API key provided", "invalid_request_error", "invalid_api_key"))
    answer = lab.failover({"p": p}).chat()
    error = assert_openai_error(answer, 502)
    assert "credential" in error["message"].lower()
    assert p.count == 1


def test_A14_unknown_model(lab):
    """Goal: a 404 is not in the retried set and is handed over."""
    p = lab.upstream(actions.fail(404, "no such model", "invalid_request_error", "model_not_found"))
    answer = lab.failover({"p": p}, {"retries": 2, "retry_on": ["5xx", 429], "backoff": BACKOFF}).chat()
    assert (answer.status, p.count) == (404, 1)
    assert answer.json()["error"]["code"] == "model_not_found"


def test_A16_second_attempt_is_marked(lab):
    """Goal: a policy marks attempts after the first with a header; the first does not carry it."""
    p, f1 = lab.upstream(actions.fail(429)), lab.upstream(actions.ok())
    gw = lab.policy({"p": p, "f1": f1}, """
    local last
    for n, target in ipairs(settings.targets) do
      if type(target) == "table" then target = target.target end
      last = req:send(target, n > 1 and { headers = { ["x-attempt"] = tostring(n - 1) } } or nil)
      if last.ok then break end
    end
    return last
""")
    assert gw.chat().status == 200
    assert (p.count, f1.count) == (1, 1)
    assert p.requests[0].header("x-attempt") is None
    assert f1.requests[0].header("x-attempt") == "1"


def test_A18_script_raises_the_count(lab):
    """Goal: a policy changes the stock policy's settings for one request only."""
    p = lab.upstream(actions.fail(500))
    gw = lab.policy({"p": p}, """
    if req:header("x-effort") == "high" then settings = moongate.merge(settings, { retries = 3 }) end
    return failover.run(req, settings)
""", {"targets": ["p/p-model"], "retries": 1, "backoff": {"base": 0.01}})
    assert gw.chat().status == 500 and p.count == 2
    assert gw.chat(headers={"X-Effort": "high"}).status == 500 and p.count == 6
    assert gw.chat().status == 500 and p.count == 8


def test_A19_official_client_does_not_multiply(lab):
    """Goal: the official client, which repeats 503s by itself, obeys the mark on an exhausted answer."""
    openai = pytest.importorskip("openai")
    p = lab.upstream(actions.fail(503))
    gw = lab.failover({"p": p}, {"retries": 1, "backoff": {"base": 0.01}})
    with openai.OpenAI(base_url=f"http://{gw.address}/v1", api_key="none") as sdk:
        with pytest.raises(openai.InternalServerError) as caught:
            sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.status_code == 503
    assert p.count == 2 and len(gw.log_entries(1)) == 1
