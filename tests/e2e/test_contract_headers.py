# SPDX-License-Identifier: MIT
"""Headers and encodings, both ways, and answers whose head is not what one expects."""
import gzip

import pytest
from support import actions, wire


def test_more_headers_to_the_provider(lab):
    """Goal: repeated and unknown headers go on; hop-by-hop ones, whoever names them, and credentials do not."""
    up = lab.upstream(actions.ok())
    lab.failover({"p": up}).chat(headers=[
        ("X-B", "1"), ("X-B", "2"), ("Origin", "o"), ("Range", "bytes=0-1"), ("If-None-Match", "x"), ("X-Real-Thing", "y"),
        ("Connection", "close, x-hop"), ("x-hop", "1"), ("Upgrade", "websocket"), ("Trailer", "a"), ("TE", "trailers"),
        ("api-KEY", "secret"), ("X-Forwarded-Proto", "secret"), ("Proxy-Connection", "keep-alive")])
    got = up.requests[0]
    assert got.all("x-b") == ["1", "2"] and got.header("x-real-thing") == "y"
    assert (got.header("origin"), got.header("range"), got.header("if-none-match")) == ("o", "bytes=0-1", "x")
    for name in ("x-hop", "upgrade", "trailer", "te", "api-key", "x-forwarded-proto", "proxy-connection"):
        assert got.header(name) is None, name


def test_more_headers_to_the_client(lab):
    """Goal: repeated headers come through apart; the provider's hop-by-hop ones do not."""
    up = lab.upstream(actions.ok(headers=[("X-A", "1"), ("X-A", "2"), ("Keep-Alive", "5"), ("Trailer", "x"), ("Upgrade", "h2"),
                                          ("Alt-Svc", "z"), ("X-MoonGate-Anything", "lie")]))
    answer = lab.failover({"p": up}).chat()
    assert answer.all("x-a") == ["1", "2"] and answer.header("alt-svc") == "z"
    for name in ("keep-alive", "trailer", "upgrade", "x-moongate-anything"):
        assert answer.header(name) is None, name


def test_marks_for_the_provider(lab):
    """Goal: of all x-moongate-* headers a provider sees one, and only when it is not asked first: how many attempts there were before."""
    p, q = lab.upstream(actions.fail(500)), lab.upstream(actions.ok())
    lab.failover({"p": p, "q": q}).chat(headers={"X-Moongate-Attempt": "9", "X-Moongate-X": "y"})

    def marks(up):
        return [(n.lower(), v) for n, v in up.requests[0].headers if n.lower().startswith("x-moongate")]
    assert marks(p) == [] and marks(q) == [("x-moongate-attempt", "1")]


def test_encoded_stream(lab):
    """Goal: a stream that comes compressed although nobody asked is decoded, and judged like any other."""
    up = lab.upstream(actions.answer(200, body=gzip.compress(b"".join(wire.whole("zipped"))),
                                     headers={"Content-Encoding": "gzip"}, content_type="text/event-stream"))
    answer = lab.failover({"p": up}).chat(stream=True)
    assert b"zipped" in answer.body and answer.clean and answer.header("content-encoding") is None


def test_encoding_that_lies(lab):
    """Goal: an answer that is not encoded as it says is invalid, and the next target is asked."""
    p = lab.upstream(actions.answer(200, body=b"not gzip at all", headers={"Content-Encoding": "gzip"}))
    answer = lab.failover({"p": p, "q": lab.upstream(actions.ok("q"))}).chat()
    assert answer.text == "q" and answer.trail[0][0] == "p/p-model" and answer.trail[0][1] != "ok"


def test_interim_answers_are_not_the_answer(lab):
    """Goal: 1xx answers of a provider are passed over, with their headers."""
    body = wire.dumps(wire.completion("a"))
    head = actions.head(200, {"Content-Type": "application/json", "Content-Length": len(body)})
    up = lab.upstream(actions.raw(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + head + body, end="keep"))
    answer = lab.failover({"p": up}).chat()
    assert answer.text == "a" and answer.header("link") is None and answer.interim == []


def test_switching_protocols(lab):
    """Goal: a 101 that nobody asked for is no answer."""
    up = lab.upstream(actions.raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc", end="stall"))
    assert lab.failover({"p": up}, {"request_timeout": 1}).chat().status in (502, 504)


@pytest.mark.parametrize("headers", [[("X-Long", "y" * 400000)], [(f"X-{i}", "v") for i in range(150)]], ids=["long", "many"])
def test_heads_without_measure(lab, headers):
    """Goal: a head that is too long, or has too many fields, is invalid, and the next target is asked."""
    answer = lab.failover({"p": lab.upstream(actions.ok(headers=headers)), "q": lab.upstream(actions.ok("q"))}).chat()
    assert answer.text == "q" and answer.trail == [("p/p-model", "invalid_response", answer.trail[0][2]), ("q/q-model", "ok", 200)]


@pytest.mark.parametrize("model", ["a\nb", "é", "a,b=c:d", "x" * 240, "a\x7f"])
def test_model_names_in_our_headers(lab, model):
    """Goal: whatever a client calls its model, the headers that name the target stay headers."""
    answer = lab.failover({"p": lab.upstream(actions.ok())}, {"targets": ["p"]}).chat(model=model)
    assert answer.status in (200, 400) and answer.clean
    for name in ("x-moongate-target", "x-moongate-attempts"):
        assert len(answer.all(name)) <= 1
        assert all(c.isprintable() for c in answer.header(name) or "")


def test_passthrough_of_the_clients_header(lab):
    """Goal: auth = "passthrough" sends the header that the client chose, and no other credential."""
    up = lab.upstream(actions.ok())
    up.options = {"auth": "passthrough", "api_key": None}
    lab.failover({"p": up}).chat(headers={"x-api-key": "mine", "cookie": "a=b"})
    assert up.requests[0].header("x-api-key") == "mine"
    assert up.requests[0].header("cookie") is None and up.requests[0].header("authorization") is None


def test_two_lengths(lab):
    """Goal: an answer that frames itself twice is invalid, and its connection is not used again."""
    for fields in ([("Content-Length", "2"), ("Content-Length", "3")], [("Content-Length", "2"), ("Transfer-Encoding", "chunked")]):
        up = lab.upstream(actions.raw(actions.head(200, fields) + b"2\r\n{}\r\n0\r\n\r\n", end="keep"), actions.ok())
        gw = lab.failover({"p": up})
        assert [t[1] for t in gw.chat().trail] == ["invalid_response"]
        assert gw.chat().status == 200 and up.connections == 2


def test_redirect_does_not_tell_the_key(lab):
    """Goal: a provider that redirects to an address with our key in it does not reach the client with it."""
    up = lab.upstream(actions.raw(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/?key=sk-provider-p\r\nContent-Length: 0\r\n\r\n",
                                  end="keep"))
    answer = lab.failover({"p": up}, options={"auth": "query:key"}).chat()
    assert up.requests[0].target.endswith("?key=sk-provider-p"), "the test's premise"
    assert "sk-provider-p" not in str(answer.headers) + bytes(answer.body).decode()
