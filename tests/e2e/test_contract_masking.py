# SPDX-License-Identifier: MIT
"""Providers like to repeat the key that they refuse: nobody but the gateway may see it, wherever it comes back."""
import gzip
import json

import pytest
from support import actions, wire
from support.client import call
from support.gateway import ADMIN_TOKEN

KEY = "sk-provider-p"


def hidden(answer, *secrets):
    """Nothing of the secrets is in head or body; returns the body's text."""
    seen = str(answer.headers) + bytes(answer.body).decode("utf-8", "replace")
    for secret in secrets or (KEY,):
        assert secret not in seen, seen
    return bytes(answer.body).decode("utf-8", "replace")


def test_every_known_secret(lab):
    """Goal: keys of other providers, of clients and the admin's token are masked too; the rest of the text is kept."""
    text = f"before client-secret-dev sk-provider-q {ADMIN_TOKEN} after"
    gw = lab.failover({"p": lab.upstream(actions.fail(400, text)), "q": lab.upstream()},
                      config={"keys": [{"name": "dev", "secret": "client-secret-dev"}]})
    body = hidden(gw.chat(headers={"x-api-key": "client-secret-dev"}), "client-secret-dev", "sk-provider-q", ADMIN_TOKEN)
    assert "before" in body and "after" in body


@pytest.mark.parametrize("status", [400, 429, 500])
def test_headers_of_a_failed_answer(lab, status):
    """Goal: a key in a header of an error answer is masked, and the other headers are kept."""
    up = lab.upstream(actions.fail(status, headers={"X-Debug": f"used {KEY} here", "X-Kept": "yes"}))
    answer = lab.failover({"p": up}).chat()
    hidden(answer)
    assert answer.status == status and answer.header("x-kept") == "yes"


def test_json_escaped_slash(lab):
    r"""Goal: a key with a slash is recognised when JSON writes it as \/."""
    up = lab.upstream(actions.answer(500, body=b'{"error":{"message":"key sk\\/abc+def end","type":"x"}}'))
    body = hidden(lab.failover({"p": up}, options={"api_key": "sk/abc+def"}).chat(), "sk\\/abc+def", "sk/abc+def")
    assert json.loads(body)["error"]["message"].startswith("key ")


def test_text_that_is_no_json(lab):
    """Goal: a proxy's page of HTML is masked like any other error."""
    up = lab.upstream(actions.answer(502, body=f"<html>{KEY}</html>".encode(), content_type="text/html"))
    assert "<html>" in hidden(lab.failover({"p": up}).chat())


@pytest.mark.parametrize("shown", [6, 9, 12])
def test_key_cut_at_the_end_of_what_is_kept(lab, shown):
    """Goal: where an error text is cut at 64 KiB, no piece of a key is left at its end."""
    body = b"x" * (65536 - shown) + KEY.encode() + b"y" * 100000
    answer = lab.failover({"p": lab.upstream(actions.answer(500, body=body, content_type="text/plain"))}).chat()
    assert answer.status == 500 and answer.clean
    hidden(answer, KEY[:shown])


def test_encoded_error(lab):
    """Goal: an error that comes compressed is masked as what it says."""
    up = lab.upstream(actions.answer(500, body=gzip.compress(wire.dumps(wire.error_body(f"k {KEY}"))), headers={"Content-Encoding": "gzip"}))
    hidden(lab.failover({"p": up}).chat())


def test_error_event_in_mid_stream(lab):
    """Goal: an error event behind content is passed on without the key, and the stream ends as a broken one."""
    up = lab.upstream(actions.stream(wire.role(), wire.delta("x"), wire.error_event(f"bad {KEY} used"), end="keep_open"))
    answer = lab.failover({"p": up}).chat(stream=True)
    assert "bad " in hidden(answer)
    assert b"[DONE]" not in answer.body and not answer.clean


def test_error_event_before_content(lab):
    """Goal: … and so is one before content, in the status that it stands for."""
    up = lab.upstream(actions.stream(wire.role(), wire.error_event(f"bad {KEY} used")))
    assert "bad " in hidden(lab.failover({"p": up}).chat(stream=True))


def test_key_of_one_send(lab):
    """Goal: a key that a policy gave to one send is a secret like the configured ones."""
    gw = lab.policy({"p": lab.upstream(actions.fail(500, "k sk-pooled-key-1 end"))}, "return req:send('p/x', { key = 'sk-pooled-key-1' })")
    assert "end" in hidden(gw.chat(), "sk-pooled-key-1")


def test_what_a_policy_sees_and_tells(lab):
    """Goal: a policy sees no key in message, body or headers: what it logs, counts, raises, suspends and answers has none."""
    up = lab.upstream(actions.fail(500, f"it was {KEY} end", code=f"c-{KEY}", headers={"X-Debug": KEY}))
    gw = lab.policy({"p": up}, """
    local a = req:send("p/x", { force = true })
    moongate.log("error", "LOGGED " .. a.message .. a:body() .. a:header("x-debug"))
    moongate.metric("told", 1, { x = a.message })
    moongate.suspend("p/x", 60, a.message)
    if req:header("x-raise") then error("RAISED " .. a.message) end
    return req:respond { json = { a.message, a:body(), tostring(a.code), a:header("x-debug"), tostring(a:json("error.message")) } }
""")
    assert "it was " in hidden(gw.chat())
    hidden(gw.chat(headers={"X-Raise": "1"}))
    assert "it was " in gw.wait_log("LOGGED")
    assert "it was " in gw.wait_log("RAISED")
    assert "it was " in gw.facts("p/x")["reason"]
    metrics = call(gw.admin, "GET", "/metrics").body.decode()
    assert "it was " in metrics
    assert KEY not in metrics + gw.admin_get("/admin/targets").body.decode() + gw.stderr + gw.stdout


def test_suspension_in_the_state_file(lab):
    """Goal: what is kept on disk has no key in it either."""
    gw = lab.policy({"p": lab.upstream(actions.fail(500, f"it was {KEY} end"))}, """
    local a = req:send("p/x")
    moongate.suspend("p/x", 60, a.message)
    return a
""", config={"state_dir": "state"})
    gw.chat()
    gw.stop()
    kept = "".join(f.read_text() for f in (gw.folder / "state").iterdir() if f.is_file())
    assert "p/x" in kept and KEY not in kept


def test_no_address_in_errors(lab):
    """Goal: a connection that fails tells neither client nor policy where it should have gone."""
    up = lab.refusing()
    answer = lab.failover({"p": up}).chat()
    assert answer.status == 502
    hidden(answer, up.address)


def test_query_key_in_the_access_log(lab):
    """Goal: a client's key in the query is not logged, also where there is no route."""
    gw = lab.failover({"p": lab.upstream()})
    call(gw.address, "GET", "/nothing?key=sk-secret-thing")
    gw.log_entries(1)
    assert "sk-secret-thing" not in gw.stdout + gw.stderr
