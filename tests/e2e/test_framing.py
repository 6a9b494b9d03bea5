# SPDX-License-Identifier: MIT
"""
The table of framing attacks (tests/support/framing.txt) on raw sockets, through a whole gateway: what comes back, whether the connection
closes, and that the provider sees no byte of a request that was smuggled.
"""
import re
from pathlib import Path

import pytest
from support import actions
from support.client import call
from support.waiting import wait_until

TABLE = Path(__file__).parents[1] / "support" / "framing.txt"
LAST = b"GET /v1/last HTTP/1.1\r\nHost: h\r\n\r\n"
MACROS = {"P": b"POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n", "G": b"GET /v1/x HTTP/1.1\r\nHost: h\r\n",
          "S": b"GET /v1/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"}
MACROS["C"] = MACROS["P"] + b"Transfer-Encoding: chunked\r\n\r\n"
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}


def expand(text):
    def one(found):
        mark = found.group()
        if mark[0] == "$":
            return MACROS[mark[1]].decode("latin-1")
        return chr(int(mark[2:], 16)) if mark[1] == "x" else ESCAPES[mark[1]].decode()
    return re.sub(r"\\x..|\\.|\$.", one, text).encode("latin-1")


def rows():
    for line in TABLE.read_text().splitlines():
        if line and not line.startswith("#"):
            name, expected, saw, data = line.split(" | ", 3)
            *statuses, end = expected.split()
            requests = [] if saw == "-" else [expand(one.strip()) for one in saw.split(";")]
            yield name, ([int(s) for s in statuses], end, requests, expand(data))


ROWS = dict(rows())


@pytest.fixture(scope="module")
def shared(shared_lab):
    up = shared_lab.upstream(answer)
    limits = {"header_time": 300, "body_time": 300, "idle_time": 300}    # a slow machine is no attack
    return shared_lab.failover({"p": up}, config={"limits": limits}), up


@pytest.fixture
def served(shared, shared_lab, request):
    request.node.lab = shared_lab
    shared[1].forget()
    return shared


def answer(call):
    """An answer without a body for HEAD, else a completion."""
    actions.answer(200, body=b"" if call.request.method == "HEAD" else None)(call)


def told(up):
    """What the provider understood, in the table's words."""
    return [(f"{r.method} {r.target} ".encode("latin-1") + r.body).rstrip(b" ") for r in up.requests]


def no_byte_smuggled(up):
    """Nothing but whole requests of the gateway's own making: one framing each, no field that a client's trick left."""
    assert up.surplus == b"" and not up.problems
    for r in up.requests:
        assert b"smuggled" not in r.raw_head and b"\r\n " not in r.raw_head
        assert len(r.all("content-length")) + len(r.all("transfer-encoding")) <= 1
        assert not (set(name.lower() for name, _ in r.headers)
                    & {"upgrade", "http2-settings", "expect", "te", "trailer", "keep-alive"})
        assert r.version == "HTTP/1.1" and r.all("host") == [up.address]


def play(gw, up, case, portions):
    statuses, end, requests, data = ROWS[case]
    with gw.client() as c:
        for portion in portions(data + LAST):
            c.send(portion)
        methods = [r.split(b" ")[0] for r in requests] or [b"GET"]
        found = [c.read(method == b"HEAD") for method in methods]
        assert [a.status for a in found] == statuses
        if end == "keep":
            assert c.read().status == 200
            requests = [*requests, b"GET /v1/last"]
        else:
            assert c.at_end(), "the connection has to be closed"
    # Whoever would come through late is behind this one.
    assert call(gw.address, "GET", "/v1/fence").status == 200
    assert told(up) == [*requests, b"GET /v1/fence"]
    no_byte_smuggled(up)


@pytest.mark.parametrize("case", ROWS)
def test_in_one_piece(served, case):
    """Goal: each row ends as the table says, and only the requests it names reach the provider."""
    play(*served, case, lambda data: [data])


@pytest.mark.parametrize("case", ROWS)
def test_byte_by_byte(served, case):
    """Goal: … and the same when every byte comes alone."""
    play(*served, case, lambda data: [data[n:n + 1] for n in range(len(data))])


def test_trace_never_reaches_a_provider(served):
    """Goal: nobody can have a provider show the credential that the gateway adds."""
    gw, up = served
    with gw.client() as c:
        assert c.send(MACROS["G"].replace(b"GET", b"TRACE") + b"\r\n").read().status == 501
    assert up.count == 0


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(served, status):
    """Goal: 204 and 304 have no body and no framing that promises one; what follows is the next answer."""
    gw, up = served
    up.on("/v1/none", lambda call: call.send(b"HTTP/1.1 %d None\r\nX-A: b\r\n\r\n" % status))
    with gw.client() as c:
        c.send(b"GET /v1/none HTTP/1.1\r\nHost: h\r\n\r\n" + LAST)
        none = c.read()
        assert (none.status, none.header("transfer-encoding"), none.body) == (status, None, b"")
        assert status != 204 or none.header("content-length") is None
        assert c.read().status == 200


def test_head_answers_have_no_body(served):
    """Goal: whatever length a provider names for HEAD, the next answer begins right behind the head."""
    gw, up = served
    up.on("/v1/none", lambda call: call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Type: text/plain\r\n\r\n"))
    with gw.client() as c:
        c.send(b"HEAD /v1/none HTTP/1.1\r\nHost: h\r\n\r\n" + LAST)
        assert c.read(head_request=True).status == 200
        assert c.read().status == 200


def test_expectations(served):
    """Goal: 100 comes once, before the body and only when the request is acceptable so far; a refusal comes instead of it."""
    gw, up = served
    head = MACROS["P"] + b"Expect: 100-continue\r\n"
    with gw.client() as c:
        c.send(head + b"Content-Length: 2\r\n\r\n")
        assert c.line() == b"HTTP/1.1 100 Continue" and c.line() == b""
        answer_ = c.send(b"ab").read()
        assert (answer_.status, answer_.interim) == (200, [])
        chunked = c.send(head + b"Transfer-Encoding: chunked\r\n\r\n").line()
        assert chunked == b"HTTP/1.1 100 Continue" and c.line() == b""
        assert c.send(b"2\r\nab\r\n0\r\n\r\n").read().status == 200
    for framing, status in [(b"Content-Length: 99999999999\r\n", 413), (b"Transfer-Encoding: cow\r\n", 501)]:
        with gw.client() as c:
            refused = c.send(head + framing + b"\r\n").read()
            assert (refused.status, refused.interim) == (status, []) and c.at_end()
    assert up.count == 2


def test_providers_may_send_interim_answers(served):
    """Goal: 1xx answers of a provider are no answers: the client gets the one behind them, once."""
    gw, up = served

    def act(call):
        call.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        actions.ok("behind")(call)
    up.on("/v1/interim", act)
    with gw.client() as c:
        first = c.send(b"GET /v1/interim HTTP/1.1\r\nHost: h\r\n\r\n" + LAST).read()
        assert (first.status, first.interim, first.text) == (200, [], "behind")
        assert c.read().status == 200


def test_half_a_request_is_never_sent_on(served):
    """Goal: a client that leaves in the middle of its body has asked nothing."""
    gw, up = served
    with gw.client() as c:
        c.send(MACROS["P"] + b"Content-Length: 100\r\n\r\n" + MACROS["S"])
    with gw.client() as c:
        c.send(MACROS["C"] + b"26\r\n" + MACROS["S"] + b"\r\n")
    assert call(gw.address, "GET", "/v1/fence").status == 200
    wait_until(lambda: told(up) == [b"GET /v1/fence"], "nothing but the fence")
