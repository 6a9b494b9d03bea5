# SPDX-License-Identifier: MIT
"""
What RFC 9112 asks of a server, section by section, against a gateway whose provider sends back what it was sent. The attacks on framing
are in test_framing.py; here is what a client may count on.
"""
import pytest
from support.client import Client

BODY = b"Hello world!"


@pytest.fixture(scope="module")
def shared(shared_lab):
    limits = {"header_time": 300, "body_time": 300, "idle_time": 300}    # a slow machine is no attack
    return shared_lab.failover({"p": shared_lab.upstream(send_back)}, route={"path": "/*"}, config={"limits": limits})


@pytest.fixture
def gw(shared, shared_lab, request):
    request.node.lab = shared_lab
    return shared


def send_back(call):
    body = call.request.body
    call.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body)
              + (b"" if call.request.method == "HEAD" else body))


def get(*fields, line=b"GET /files/x HTTP/1.1", host=b"Host: example.com"):
    return b"\r\n".join([line, *([host] if host else []), *fields]) + b"\r\n\r\n"


def post(*fields, body=BODY):
    return get(*fields, line=b"POST /files/x HTTP/1.1") + body


LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = post(b"Transfer-Encoding: chunked", body=b"C\r\n" + BODY + b"\r\n0\r\n\r\n")

# section of RFC 9112 (9110: by its number): what is sent, status, body of the answer (None: not looked at)
ROWS = {
    "2.2 empty line in front": (b"\r\n" + get(), 200, b""),
    "2.2 something else in front": (b"Extra line" + get(), 400, None),
    "2.2 a CR that ends no line": (get(b"\rX-A: b"), 400, None),
    "2.2 a head ended by CR": (get()[:-2] + b"\rX-A: b\r\n\r\n", 400, None),
    "2.2 blanks behind the request line": (get(b" X-A: b", host=None), 400, None),
    "2.3 another major version": (get(line=b"GET / HTTP/9.9"), 505, None),
    "2.3 another minor version": (get(line=b"GET / HTTP/1.7"), 505, None),
    "2.3 version in lower case": (get(line=b"GET / http/1.1"), 400, None),
    "3 no version": (b"GET / \r\n\r\n", 400, None),
    "3 request line of 8000 bytes": (get(line=b"GET /" + b"x" * 7986 + b" HTTP/1.1"), 200, b""),
    "3 request line too long": (get(line=b"GET /" + b"x" * 20000 + b" HTTP/1.1"), 414, None),
    "3.1 unknown method": (get(line=b"BREW /files/x HTTP/1.1"), 200, b""),
    "3.2 no Host": (get(host=None), 400, None),
    "3.2 two Hosts": (get(b"Host: example.org"), 400, None),
    "3.2 a Host that is none": (get(host=b"Host: exa mple.com"), 400, None),
    "3.2 an empty Host": (get(host=b"Host:"), 200, b""),
    "3.2 white space in the target": (get(line=b"GET /files /x HTTP/1.1"), 400, None),
    "3.2.1 origin form with a query": (get(line=b"GET /files/x?a=b&c HTTP/1.1"), 200, b""),
    "3.2.2 absolute form": (get(line=b"GET http://example.com/files/x HTTP/1.1"), 200, b""),
    "3.2.3 authority form": (get(line=b"CONNECT example.com:443 HTTP/1.1"), 501, None),
    "5 field name in any case, tab": (get(b"empty:", host=b"hoSt:\texample.com"), 200, b""),
    "5 empty value": (get(b"X-Empty: "), 200, b""),
    "5 field name with brackets": (get(b"X-Invalid[]: b"), 400, None),
    "5 control character in a value": (get(b"X-A: b\x07"), 400, None),
    "5.1 space before the colon": (get(b"X-A : b"), 400, None),
    "5.2 folded line": (get(b"X-A: b\r\n c"), 400, None),
    "5.4 (9110) fields too long": (get(b"X-A: " + b"b" * 40000), 431, None),
    "6.1 both framings": (post(LENGTH, b"tRaNsFeR-EnCoDiNg: chunked", body=b"C\r\n" + BODY + b"\r\n0\r\n\r\n"), 400, None),
    "6.1 a coding not understood": (post(b"Transfer-Encoding: gzip, chunked"), 501, None),
    "6.1 a coding in HTTP/1.0": (CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0"), 400, None),
    "6.2 body of a known length": (post(LENGTH), 200, BODY),
    "6.2 a length in words": (post(b"Content-Length: abc"), 400, None),
    "6.2 a length below zero": (post(b"Content-Length: -1234"), 400, None),
    "6.2 a length far below zero": (post(b"Content-Length: -123456789123456789123456789"), 400, None),
    "6.2 a length beyond all": (post(b"Content-Length: 123456789123456789123456789"), 413, None),
    "6.3 no framing, no body": (post(body=b""), 200, b""),
    "7.1 chunks": (CHUNKED, 200, BODY),
    "7.1 a chunk size that is none": (post(b"Transfer-Encoding: chunked", body=b"Z\r\n"), 400, None),
    "7.1.1 chunk extension": (CHUNKED.replace(b"C\r\n", b"C;a=b\r\n"), 200, BODY),
    "7.1.2 trailers": (CHUNKED.replace(b"\r\n0\r\n", b"\r\n0\r\nX-A: b\r\n"), 200, BODY),
    "9.3.2 body of a DELETE": (post(LENGTH).replace(b"POST", b"DELETE"), 200, BODY),
    "10.1.1 (9110) expectation without a body": (get(b"Expect: 100-continue"), 200, b""),
}


@pytest.mark.parametrize("row", ROWS)
def test_rows(gw, row):
    """Goal: each answer is the one that RFC 9112 asks for; after an error of framing the connection is closed."""
    data, status, body = ROWS[row]
    with gw.client() as c:
        answer = c.send(data).read()
        assert answer.status == status and answer.clean
        if status != 200:
            assert c.at_end() and answer.header("connection") == "close"
        else:
            assert bytes(answer.body) == body
            assert c.send(get()).read().status == 200, "the connection has to live on"


@pytest.mark.parametrize("whole", [get(b"X-A: b"), post(LENGTH), CHUNKED], ids=["get", "length", "chunks"])
def test_half_a_request_is_waited_for(gw, whole):
    """Goal: whatever part of a request has come, the rest is waited for: no answer, no close; then it is answered."""
    waiting = []
    for n in range(1, len(whole)):
        waiting.append(Client(gw.address))
        waiting[-1].send(whole[:n])
    for _ in range(3):    # all parts have been read by the time that these are answered, or nothing is shown
        with gw.client() as c:
            assert c.send(whole).read().status == 200
    for n, c in enumerate(waiting, 1):
        c.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            c.sock.recv(1)
        c.sock.setblocking(True)
        c.sock.settimeout(30)
        assert c.send(whole[n:]).read().status == 200
        c.close()


def test_persistence(gw):
    """Goal: section 9.3: HTTP/1.1 goes on unless someone says close; HTTP/1.0 only when it asks to."""
    for data, lives in [(get(), True), (get(b"Connection: close"), False), (get(b"Connection: x, CLOSE"), False),
                        (get().replace(b"/1.1", b"/1.0"), False),
                        (get(b"Connection: Keep-Alive").replace(b"/1.1", b"/1.0"), True)]:
        with gw.client() as c:
            answer = c.send(data).read()
            assert answer.status == 200 and answer.version == "HTTP/1.1"
            assert (answer.header("connection") != "close") == lives
            assert c.send(get()).read().status == 200 if lives else c.at_end()


def test_answers_carry_a_date_and_one_framing(gw):
    """Goal: 9110 section 6.6.1, and section 6: a Date, and exactly one way to find the end."""
    for data in [get(), post(LENGTH), CHUNKED, get(host=None)]:
        with gw.client() as c:
            answer = c.send(data).read()
            assert len(answer.all("date")) == 1
            assert len(answer.all("content-length")) + len(answer.all("transfer-encoding")) == 1


def test_half_close(gw):
    """Goal: section 9.6: behind a client that sends no more, the connection is closed, after the answer it still got."""
    with gw.client() as c:
        assert c.send(post(LENGTH)).read().body == BODY
        c.sock.shutdown(1)
        assert c.at_end()
