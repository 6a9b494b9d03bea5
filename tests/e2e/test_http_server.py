# SPDX-License-Identifier: MIT
"""The HTTP/1.1 server over real sockets: TRAPS 4.1 and 4.3, row by row, and the routes every client expects."""
import gzip
import json
import time

import pytest
from conftest import provider_config
from support import actions, wire
from support.client import Client, assert_openai_error, call, chat_body
from support.waiting import wait_steady, wait_until

BODY = b'{"model":"m","messages":[]}'
PATH = b"/v1/chat/completions"


def post(*lines, body=b"", host=True):
    """A request made of raw header lines."""
    head = [b"POST " + PATH + b" HTTP/1.1", *([b"Host: x"] if host else []), b"Content-Type: application/json", *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


@pytest.fixture(scope="module")
def shared(shared_lab):
    up = shared_lab.upstream(actions.ok())
    return shared_lab.failover({"p": up}, {"targets": ["p"]}), up


@pytest.fixture
def served(shared, shared_lab, request):
    """A gateway shared by the tests of this file, whose provider has forgotten the calls of the others."""
    request.node.lab = shared_lab
    shared[1].forget()
    return shared


def refused(gw, data, *statuses):
    """Sends data and a second request behind it; exactly one answer, an error, comes back before the close."""
    with gw.client() as c:
        c.send(data + post(b"Content-Length: %d" % len(BODY), body=BODY))
        answer = c.read()
        error = assert_openai_error(answer)
        assert answer.status in statuses, (answer.status, error)
        assert c.at_end(), "the connection has to be closed after a framing error"
        return answer


CHUNKED = b"Transfer-Encoding: chunked"


def chunks(*sizes):
    """BODY as one chunk whose size line is given."""
    return sizes[0] + b"\r\n" + BODY + b"\r\n0\r\n\r\n"


HEX = b"%x" % len(BODY)
LENGTH = b"Content-Length: %d" % len(BODY)

WRONG = {
    "length-and-coding": (post(LENGTH, CHUNKED, body=chunks(HEX)), [400]),
    "coding-and-length": (post(CHUNKED, LENGTH, body=chunks(HEX)), [400]),
    "two-lengths": (post(b"Content-Length: 0", LENGTH, body=BODY), [400]),
    "same-length-twice": (post(LENGTH, LENGTH, body=BODY), [400]),
    "list-of-lengths": (post(b"Content-Length: 5, 5", body=b"12345"), [400]),
    "xchunked": (post(b"Transfer-Encoding: xchunked", body=chunks(HEX)), [400, 501]),
    "gzip-chunked": (post(b"Transfer-Encoding: gzip, chunked", body=chunks(HEX)), [501]),
    "chunked-twice": (post(CHUNKED, CHUNKED, body=chunks(HEX)), [400, 501]),
    "chunked-identity": (post(b"Transfer-Encoding: identity", body=b""), [400, 501]),
    "chunk-size-0x": (post(CHUNKED, body=chunks(b"0x" + HEX)), [400]),
    "chunk-size-plus": (post(CHUNKED, body=chunks(b"+" + HEX)), [400]),
    "chunk-size-minus": (post(CHUNKED, body=chunks(b"-" + HEX)), [400]),
    "chunk-size-space": (post(CHUNKED, body=chunks(b" " + HEX)), [400]),
    "chunk-size-empty": (post(CHUNKED, body=chunks(b"")), [400]),
    "chunk-size-long": (post(CHUNKED, body=chunks(b"0" * 14 + HEX)), [400]),
    "chunk-size-huge": (post(CHUNKED, body=chunks(b"fffffffffffffff")), [400, 413]),
    "chunk-bare-lf": (post(CHUNKED, body=HEX + b"\n" + BODY + b"\n0\n\n"), [400]),
    "chunk-too-long": (post(CHUNKED, body=HEX + b"\r\n" + BODY + b"xx\r\n0\r\n\r\n"), [400]),
    "length-plus": (post(b"Content-Length: +5", body=b"12345"), [400]),
    "length-minus": (post(b"Content-Length: -5", body=b"12345"), [400]),
    "length-hex": (post(b"Content-Length: 0x5", body=b"12345"), [400]),
    "length-empty": (post(b"Content-Length:", body=b""), [400]),
    "length-overflow": (post(b"Content-Length: 18446744073709551617", body=b"1"), [400, 413]),
    "space-before-colon": (post(b"Content-Length : 5", body=b"12345"), [400]),
    "empty-name": (post(b": value", LENGTH, body=BODY), [400]),
    "no-colon": (post(b"nonsense", LENGTH, body=BODY), [400]),
    "name-with-space": (post(b"X Y: z", LENGTH, body=BODY), [400]),
    "name-not-a-token": (post(b"X(Y): z", LENGTH, body=BODY), [400]),
    "obs-fold": (post(b"X-A: b\r\n c", LENGTH, body=BODY), [400]),
    "fold-first": (post(host=True, body=b"").replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\n Host: y\r\n"), [400]),
    "nul-in-value": (post(b"X-A: b\0c", LENGTH, body=BODY), [400]),
    "control-in-value": (post(b"X-A: b\x01c", LENGTH, body=BODY), [400]),
    "bare-cr": (post(b"X-A: b\rX-B: c", LENGTH, body=BODY), [400]),
    "bare-lf": (post(b"X-A: b\nX-B: c", LENGTH, body=BODY), [400]),
    "bare-lf-everywhere": (post(LENGTH).replace(b"\r\n", b"\n") + BODY, [400]),
    "no-host": (post(LENGTH, body=BODY, host=False), [400]),
    "two-hosts": (post(b"Host: y", LENGTH, body=BODY), [400]),
    "http-2": (post(LENGTH, body=BODY).replace(b"HTTP/1.1", b"HTTP/2.0", 1), [505, 400]),
    "http-lower": (post(LENGTH, body=BODY).replace(b"HTTP/1.1", b"http/1.1", 1), [400, 505]),
    "http-0.9": (b"GET /v1/models\r\n\r\n", [400, 505]),
    "two-spaces": (post(LENGTH, body=BODY).replace(b"POST ", b"POST  ", 1), [400]),
    "method-not-a-token": (post(LENGTH, body=BODY).replace(b"POST", b"PO(ST", 1), [400]),
    "target-with-nul": (post(LENGTH, body=BODY).replace(b"/v1/", b"/v1\0/", 1), [400]),
    "target-without-slash": (post(LENGTH, body=BODY).replace(b"/v1/", b"v1/", 1), [400]),
    "tls-hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", [400]),
    "long-request-line": (b"GET /v1/" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", [414]),
    "large-header": (post(b"X-A: " + b"x" * 40000, LENGTH, body=BODY), [431]),
    "megabyte-header": (post(b"X-A: " + b"x" * 1000000, LENGTH, body=BODY), [431]),
    "many-headers": (post(*[b"X-%d: y" % n for n in range(120)], LENGTH, body=BODY), [431]),
    "large-body": (post(b"Content-Length: %d" % (40 << 20)), [413]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_requests(served, case):
    """Goal: TRAPS 4.1 and 4.3: the right 4xx in OpenAI's shape, nobody called, no second request smuggled."""
    gw, up = served
    data, statuses = WRONG[case]
    refused(gw, data, *statuses)
    assert up.count == 0
    assert gw.chat().status == 200


RIGHT = {
    "length": post(LENGTH, body=BODY),
    "chunked": post(CHUNKED, body=chunks(HEX)),
    "chunked-upper": post(b"Transfer-Encoding: Chunked", body=chunks(HEX.upper())),
    "chunk-extension": post(CHUNKED, body=chunks(HEX + b";a=b")),
    "chunk-extension-quoted": post(CHUNKED, body=chunks(HEX + b';a="b c"')),
    "chunk-leading-zeros": post(CHUNKED, body=chunks(b"000" + HEX)),
    "trailers": post(CHUNKED, body=HEX + b"\r\n" + BODY + b"\r\n0\r\nX-Trailer: y\r\n\r\n"),
    "empty-line-first": b"\r\n" + post(LENGTH, body=BODY),
    "tab-in-value": post(b"X-A:\tb\tc\t", LENGTH, body=BODY),
    "high-bytes-in-value": post(b"X-A: \xe9", LENGTH, body=BODY),
    "no-space-after-colon": post(b"X-A:b", LENGTH, body=BODY),
    "empty-value": post(b"X-A:", LENGTH, body=BODY),
    "query": post(LENGTH, body=BODY).replace(PATH, PATH + b"?beta=true"),
}


@pytest.mark.parametrize("case", RIGHT)
def test_right_requests(served, case):
    """Goal: what is unusual but allowed is accepted, whole or byte by byte, and the connection lives on."""
    gw, up = served
    with gw.client() as c:
        assert c.send(RIGHT[case]).read().status == 200
        assert up.requests[0].body == BODY
        for n in range(len(RIGHT[case])):
            c.send(RIGHT[case][n:n + 1])
        assert c.read().status == 200
        assert up.requests[1].body == BODY and up.requests[1].header("x-trailer") is None
    if case == "query":
        assert up.requests[0].target == "/v1/chat/completions?beta=true"


def test_pipelined_requests_in_order(lab):
    """Goal: three requests in one write are answered in order, though the first is the slowest."""
    up = lab.upstream(actions.ok("1", delay=0.3), actions.ok("2", delay=0.1), actions.ok("3"))
    gw = lab.failover({"p": up})
    with gw.client() as c:
        c.send(post(LENGTH, body=BODY) * 3)
        assert [c.read().text for _ in range(3)] == ["1", "2", "3"]


def test_pipelined_stream_and_error(lab):
    """Goal: a stream, then a request that is wrong, on one connection: each gets its own answer."""
    up = lab.upstream(actions.talk("whole"))
    gw = lab.failover({"p": up})
    with gw.client() as c:
        c.send(c.request_bytes("POST", PATH.decode(), body=chat_body(True)) + post(b"Content-Length: x"))
        first = c.start()
        assert wire.text_of(first.events()) == "whole" and first.clean
        assert_openai_error(c.read(), 400)
        assert c.at_end()


def test_keep_alive_and_close(served):
    """Goal: connections live on unless the client says otherwise."""
    gw, up = served
    with gw.client() as c:
        for _ in range(3):
            assert c.request("POST", PATH.decode(), body=chat_body()).read().clean
        answer = c.request("POST", PATH.decode(), {"Connection": "close"}, chat_body()).read()
        assert answer.status == 200 and (answer.header("connection") or "").lower() == "close"
        assert c.at_end()
    assert up.count == 4


def test_http_1_0(served):
    """Goal: an HTTP/1.0 client gets no chunks, and the connection is closed."""
    gw, up = served
    with gw.client() as c:
        c.send(post(LENGTH, body=BODY).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        answer = c.read()
        assert answer.status in (200, 505) and answer.framing != "chunked"
        assert c.at_end()


def test_http_1_0_stream(lab):
    """Goal: … not for a stream either."""
    gw = lab.failover({"p": lab.upstream(actions.talk("one", "two"))})
    with gw.client() as c:
        body = wire.dumps(chat_body(True))
        c.send(post(b"Content-Length: %d" % len(body), body=body).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        answer = c.start()
        assert answer.status in (200, 505) and answer.framing != "chunked"
        if answer.status == 200:
            assert wire.text_of(answer.events()) == "onetwo"


def test_header_deadline(lab):
    """Goal: a head that trickles in is cut off by limits.header_time, whatever arrives meanwhile."""
    gw = lab.failover({"p": lab.upstream()}, config={"limits": {"header_time": 1}})
    started = time.monotonic()
    with gw.client() as c:
        c.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
        c.sock.settimeout(0.1)
        for _ in range(300):
            c.send(b"X-A: b\r\n")
            try:
                assert c.read().status == 408
                break
            except TimeoutError:
                continue
            except (EOFError, ConnectionResetError):
                break
        else:
            pytest.fail("never cut off")
    assert time.monotonic() - started >= 1


def test_body_deadline(lab):
    """Goal: a body that does not come is cut off by limits.body_time, with a 408."""
    gw = lab.failover({"p": lab.upstream()}, config={"limits": {"body_time": 1}})
    started = time.monotonic()
    with gw.client() as c:
        answer = c.send(post(b"Content-Length: 1000", body=b"{")).read()
        assert_openai_error(answer, 408)
        assert c.at_end()
    assert time.monotonic() - started >= 1


def test_half_requests_leave_nothing(served):
    """Goal: clients that leave in the middle of a request cost nothing."""
    gw, up = served
    assert gw.chat().status == 200
    before = wait_steady(gw.fds)
    whole = RIGHT["chunked"]
    for n in range(1, len(whole), 7):
        with gw.client() as c:
            c.send(whole[:n])
    wait_until(lambda: gw.fds() <= before + 1, "the descriptors to be closed")
    assert up.count == 1 and gw.chat().status == 200


BAD_JSON = {
    "not-json": b"hello", "array": b"[1]", "string": b'"x"', "blank": b" ", "cut": b'{"model":"m"',
    "surplus": b'{"model":"m"} x', "two-models": b'{"model":"a","model":"b"}',
    "two-models-escaped": b'{"model":"a","mo\\u0064el":"b"}', "two-streams": b'{"model":"m","stream":true,"stream":false}',
    "nul": b'{"model":"m","x":"\0"}', "bad-escape": b'{"model":"m","x":"\\q"}', "trailing-comma": b'{"model":"m",}',
    "deep": b'{"model":"m","x":' + b"[" * 5000 + b"]" * 5000 + b"}",
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_bodies_that_are_no_object(served, case):
    """Goal: a body that is not one JSON object with one model is a 400; the connection lives on."""
    gw, up = served
    with gw.client() as c:
        answer = c.request("POST", PATH.decode(), {"Content-Type": "application/json"}, BAD_JSON[case]).read()
        assert_openai_error(answer, 400)
        assert c.send(post(LENGTH, body=BODY)).read().status == 200
    assert up.count == 1


def test_nested_models_are_not_the_model(lab):
    """Goal: only the top-level model is changed."""
    up = lab.upstream(actions.ok())
    gw = lab.failover({"p": up})
    body = b'{"metadata":{"model":"x","stream":true},"model":"m","tools":[{"model":"y"}]}'
    assert call(gw.address, headers={"Content-Type": "application/json"}, body=body).status == 200
    assert up.requests[0].body == body.replace(b'"model":"m"', b'"model":"p-model"')


def test_unknown_path(served):
    """Goal: a path without a route is a 404 in the dialect's shape."""
    gw, up = served
    assert_openai_error(call(gw.address, "GET", "/nothing/here"), 404)
    assert_openai_error(call(gw.address, "POST", "/v2/chat/completions", body=chat_body()), 404)
    assert up.count == 0


def test_head_of_the_root(served):
    """Goal: HEAD / is 200, without a body."""
    gw, _ = served
    with gw.client() as c:
        answer = c.request("HEAD", "/").read(head_request=True)
        assert answer.status == 200
        assert c.request("POST", PATH.decode(), body=chat_body()).read().status == 200


def test_models_are_listed_from_routes(lab):
    """Goal: GET /v1/models is answered by the gateway itself."""
    up = lab.upstream()
    gw = lab.failover({"p": up}, {"targets": ["p/alpha", "p/beta"]})
    answer = call(gw.address, "GET", "/v1/models")
    assert answer.status == 200 and answer.json()["object"] == "list"
    ids = [m["id"] for m in answer.json()["data"]]
    assert ids and all(m["object"] == "model" for m in answer.json()["data"])
    assert "alpha" in ids, "the targets' models are what routes can name when they list no models"
    assert up.count == 0


def test_other_methods_are_routed(lab):
    """Goal: DELETE and GET reach the provider with path and query, and binary answers come back as they are."""
    blob = bytes(range(256)) * 40
    up = lab.upstream(actions.answer(200, {"deleted": True}),
                      actions.answer(200, body=blob, content_type="application/octet-stream"))
    gw = lab.failover({"p": up}, {"targets": ["p"]})
    assert call(gw.address, "DELETE", "/v1/files/f-1?x=%20y&x=2").json() == {"deleted": True}
    answer = call(gw.address, "GET", "/v1/files/f-1/content")
    assert answer.body == blob and answer.header("content-type") == "application/octet-stream"
    assert [(r.method, r.target) for r in up.requests] == [("DELETE", "/v1/files/f-1?x=%20y&x=2"),
                                                           ("GET", "/v1/files/f-1/content")]


KEYS = [{"name": "app", "secret": "client-secret-app", "environment": "production"},
        {"name": "dev", "secret": "client-secret-dev", "environment": "sandbox", "models": ["gpt-4o*"]}]


@pytest.fixture
def locked(lab):
    up = lab.upstream(actions.ok())
    return lab.failover({"p": up}, config={"keys": KEYS}), up


@pytest.mark.parametrize("header", ["Authorization: Bearer client-secret-app", "x-api-key: client-secret-app",
                                    "x-goog-api-key: client-secret-app"])
def test_client_keys_in_three_headers(locked, header):
    """Goal: a client's key is taken from any of the three headers, and never sent on."""
    gw, up = locked
    assert gw.chat(headers=[tuple(header.split(": "))]).status == 200
    assert up.requests[0].all("authorization") == ["Bearer sk-provider-p"]
    assert b"client-secret-app" not in up.requests[0].raw_head


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic client-secret-app"},
                                     {"x-api-key": "client-secret-ap"}, {"x-api-key": ""}])
def test_wrong_client_keys(locked, headers):
    """Goal: a missing or wrong key is a 401, and calls nobody."""
    gw, up = locked
    answer = gw.chat(headers=headers)
    assert_openai_error(answer, 401)
    assert up.count == 0 and b"client-secret" not in answer.body


def test_models_of_a_key(locked):
    """Goal: a key with a list of models is refused for all others."""
    gw, up = locked
    dev = {"x-api-key": "client-secret-dev"}
    assert gw.chat(headers=dev, model="gpt-4o-mini").status == 200
    assert gw.chat(headers=dev, model="other").status in (403, 404)
    assert up.count == 1


def test_headers_to_the_provider(served):
    """Goal: what goes to the provider and what does not (section 4, Headers)."""
    gw, up = served
    sent = {"Authorization": "Bearer secret-1", "x-api-key": "secret-2", "x-goog-api-key": "secret-3",
            "api-key": "secret-4", "Cookie": "secret-5", "Proxy-Authorization": "secret-6", "Forwarded": "for=secret-7",
            "X-Forwarded-For": "secret-8", "X-Moongate-Debug": "secret-9", "Connection": "keep-alive, X-Hop",
            "X-Hop": "secret-10", "TE": "trailers", "Keep-Alive": "secret-11", "Accept-Encoding": "gzip, br",
            "X-Stainless-Lang": "js", "OpenAI-Beta": "x=1", "User-Agent": "tests", "Accept": "application/json"}
    assert gw.chat(headers=sent, target="/v1/chat/completions?key=secret-12&a=b").status == 200
    got = up.requests[0]
    assert b"secret-" not in got.raw_head
    assert got.target == "/v1/chat/completions?a=b"
    assert got.all("authorization") == ["Bearer sk-provider-p"]
    assert got.all("host") == [up.address] and len(got.all("content-length")) == 1
    assert got.header("x-stainless-lang") == "js" and got.header("openai-beta") == "x=1"
    assert got.header("user-agent") == "tests" and got.header("accept") == "application/json"
    assert "gzip" not in (got.header("accept-encoding") or "")
    assert got.header("expect") is None and got.header("transfer-encoding") is None


def test_headers_to_the_client(lab):
    """Goal: what goes to the client and what does not."""
    up = lab.upstream(actions.ok(headers=[("X-Request-Id", "r1"), ("Set-Cookie", "a=b"), ("X-Moongate-Target", "lie"),
                                          ("Connection", "X-Hop"), ("X-Hop", "1"), ("X-RateLimit-Remaining", "3")]))
    answer = lab.failover({"p": up}).chat()
    assert answer.header("x-request-id") == "r1" and answer.header("x-ratelimit-remaining") == "3"
    assert answer.header("set-cookie") is None and answer.header("x-hop") is None
    assert answer.all("x-moongate-target") == ["p/p-model"]
    assert answer.header("x-moongate-request-id")


def test_encoded_answers_are_decoded(lab):
    """Goal: an answer that comes encoded anyway is decoded."""
    body = gzip.compress(wire.dumps(wire.completion("plain")))
    up = lab.upstream(actions.answer(200, body=body, headers={"Content-Encoding": "gzip"}))
    answer = lab.failover({"p": up}).chat()
    assert answer.text == "plain" and answer.header("content-encoding") is None


@pytest.mark.parametrize("auth,name,value", [("bearer", "authorization", "Bearer sk-provider-p"),
                                             ("header:api-key", "api-key", "sk-provider-p"),
                                             ("query:key", None, None), ("none", None, None)])
def test_auth_of_providers(lab, auth, name, value):
    """Goal: each way in which a provider gets its key; a client's own key= in the query does not cross."""
    up = lab.upstream(actions.ok())
    gw = lab.failover({"p": up}, options={"auth": auth})
    assert gw.chat(target="/v1/chat/completions?key=mine&x=1", headers={"Authorization": "Bearer mine"}).status == 200
    got = up.requests[0]
    assert b"mine" not in got.raw_head
    assert got.all("authorization") == ([value] if name == "authorization" else [])
    if name:
        assert got.all(name) == [value]
    query = got.target.partition("?")[2].split("&")
    assert sorted(query) == (["key=sk-provider-p", "x=1"] if auth == "query:key" else ["x=1"])


def test_auth_passthrough(lab):
    """Goal: with passthrough the client's own key is sent, and its 401 is handed over, suspending nothing."""
    up = lab.upstream(actions.fail(401, "bad key"), actions.ok())
    gw = lab.failover({"p": up}, {"suspend": 60}, options={"auth": "passthrough", "api_key": None})
    assert gw.chat(headers={"Authorization": "Bearer mine"}).status == 401
    assert up.requests[0].all("authorization") == ["Bearer mine"]
    assert gw.chat(headers={"Authorization": "Bearer mine"}).status == 200


def test_known_keys_are_masked_in_error_texts(lab):
    """Goal: an error text that repeats the provider's key reaches the client with the key masked."""
    up = lab.upstream(actions.fail(500, "cannot use sk-provider-p today"))
    answer = lab.failover({"p": up}).chat()
    assert answer.status == 500 and b"sk-provider-p" not in answer.body
    assert "today" in answer.json()["error"]["message"]


def route(name, **more):
    return {"name": name, "path": "/v1/chat/completions", "policy": "failover",
            "settings": {"targets": [name]}, **more}


def test_routes_in_order(lab):
    """Goal: path, then model, then method; the first route that fits."""
    ups = {n: lab.upstream(actions.ok(n)) for n in ("a", "b", "c")}
    gw = lab.failover(ups, start=False)
    gw.write_config({**provider_config(ups), "routes": [
        route("a", models=["gpt-4o*", "exact"]), route("b", methods=["POST"]), route("c", path="/v1/*")]})
    gw.start()
    assert [gw.chat(model=m).text for m in ("gpt-4o-mini", "exact", "exactly", "gpt-4")] == ["a", "a", "b", "b"]
    assert call(gw.address, "GET", "/v1/chat/completions").text == "c"
    assert gw.chat(target="/v1/embeddings", model="gpt-4o").text == "c"


def test_many_idle_connections(served):
    """Goal: idle connections cost the others nothing."""
    gw, _ = served
    idle = [Client(gw.address) for _ in range(100)]
    assert gw.chat().status == 200
    for c in idle:
        c.close()


def test_errors_say_what_was_wrong(served):
    """Goal: an error names what was found, and its type is one of the gateway's own."""
    gw, _ = served
    error = assert_openai_error(call(gw.address, body=b'{"model":"a","model":"b"}',
                                     headers={"Content-Type": "application/json"}), 400)
    assert "model" in error["message"]
    assert json.dumps(error)
