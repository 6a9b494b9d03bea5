# SPDX-License-Identifier: MIT
"""SCENARIOS.tsv, group J: replays, framing that lies, short bodies, uploads."""
import pytest
from support import actions, wire
from support.client import assert_openai_error, chat_body
from support.waiting import PATIENCE


def test_J01_no_replay_of_what_was_sent(lab):
    """Goal: replay = false: a body that was wholly sent without an answer is not sent anywhere again."""
    p, f1 = lab.upstream(actions.hang_up()), lab.upstream(actions.ok("from f1"))
    answer = lab.failover({"p": p, "f1": f1}, {"replay": False}).chat()
    assert_openai_error(answer, 502)
    assert (p.count, f1.count) == (1, 0)


def test_J01_replay_allowed(lab):
    """Goal: replay = true (the default): the next target gets it."""
    p, f1 = lab.upstream(actions.hang_up()), lab.upstream(actions.ok("from f1"))
    assert lab.failover({"p": p, "f1": f1}).chat().text == "from f1"
    assert (p.count, f1.count) == (1, 1)


def test_J01_unsent_bodies_move_on(lab):
    """Goal: replay = false still moves on when nothing was sent."""
    f1 = lab.upstream(actions.ok("from f1"))
    assert lab.failover({"p": lab.refusing(), "f1": f1}, {"replay": False}).chat().text == "from f1"


def twice(gw):
    """Two requests over one client connection: one worker, hence one pool."""
    with gw.client() as c:
        return [c.request("POST", "/v1/chat/completions", body=chat_body()).read() for _ in range(2)]


def test_J02_reused_connection_without_replay(lab):
    """Goal: a kept connection that dies under the second request is not repeated behind the policy's back."""
    p = lab.upstream(actions.ok(), actions.hang_up(), actions.ok("third"))
    first, second = twice(lab.failover({"p": p}, {"replay": False}))
    assert first.status == 200
    assert_openai_error(second, 502)
    assert p.count == 2 and p.requests[1].connection == 1
    assert second.trail == [("p/p-model", "stale_connection", 0)]


def test_J02_reused_connection_with_replay(lab):
    """Goal: with replay it is tried once more over a fresh connection, and the trail shows it."""
    p = lab.upstream(actions.ok(), actions.hang_up(), actions.ok("third"))
    first, second = twice(lab.failover({"p": p}))
    assert first.status == 200 and second.text == "third"
    assert second.trail == [("p/p-model", "stale_connection", 0), ("p/p-model", "ok", 200)]
    assert [r.connection for r in p.requests] == [1, 1, 2]


def test_J04_no_target_twice(lab):
    """Goal: nothing listens anywhere: each target is tried once, however many attempts are allowed."""
    gw = lab.failover({"t1": lab.refusing(), "t2": lab.refusing()}, {"max_attempts": 4})
    answer = gw.chat()
    assert_openai_error(answer, 502)
    assert [t[0] for t in answer.trail] == ["t1/t1-model", "t2/t2-model"]
    assert [a["target"] for a in gw.entry(answer)["attempts"]] == ["t1/t1-model", "t2/t2-model"]


BODY = wire.dumps(wire.completion("LEAK"))
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
LIES = {
    "two-lengths": b"Content-Length: 5\r\n" + LENGTH + b"\r\n" + BODY,
    "same-length-twice": LENGTH + LENGTH + b"\r\n" + BODY,
    "list-of-lengths": b"Content-Length: %d, 5\r\n\r\n" % len(BODY) + BODY,
    "bad-length": b"Content-Length: 12x\r\n\r\n" + BODY,
    "negative-length": b"Content-Length: -5\r\n\r\n" + BODY,
    "both-framings": LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "both-the-other-way": b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n" + CHUNKED,
    "unknown-coding": b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKED,
    "bad-chunk-size": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + BODY + b"\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("lie", LIES)
def test_J05_framing_that_lies(lab, lie):
    """Goal: such an answer is a 502, nothing of it is passed on, and its connection is not used again."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + LIES[lie]
    p = lab.upstream(actions.raw(answer, end="stall"), actions.ok("next"))
    gw = lab.failover({"p": p}, {"request_timeout": 5})
    with gw.client() as c:
        got = c.request("POST", "/v1/chat/completions", body=chat_body()).read()
        assert_openai_error(got, 502)
        assert b"LEAK" not in got.body
        allowed = ("invalid_response", "stream_broken") if lie == "bad-chunk-size" else ("invalid_response",)
        assert got.trail[0][0] == "p/p-model" and got.trail[0][1] in allowed
        assert c.request("POST", "/v1/chat/completions", body=chat_body()).read().text == "next"
    assert [r.connection for r in p.requests] == [1, 2]


@pytest.mark.parametrize("junk", [b"hello there\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"\x16\x03\x01\x00\x05hello"])
def test_J05_no_http_at_all(lab, junk):
    """Goal: an answer that is no HTTP moves on."""
    p, f1 = lab.upstream(actions.raw(junk)), lab.upstream(actions.ok("from f1"))
    answer = lab.failover({"p": p, "f1": f1}).chat()
    assert answer.text == "from f1" and answer.trail[0][1] in ("invalid_response", "stream_broken")


def test_J05_surplus_bytes(lab):
    """Goal: bytes after the end of an answer never become part of the next one."""
    surplus = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
    p = lab.upstream(actions.raw(actions.head(200, {"Content-Type": "application/json", "Content-Length": len(BODY)})
                                 + BODY + surplus, end="keep"), actions.ok("next"))
    gw = lab.failover({"p": p})
    first, second = twice(gw)
    assert first.status in (200, 502) and b"EVIL" not in first.body
    assert second.status == 200 and second.text == "next"


def test_J05_endless_head(lab):
    """Goal: an answer whose head does not end is stopped by a limit."""
    def pour(call):
        call.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            call.send(b"X-More: " + b"x" * 8000 + b"\r\n")
    p, f1 = lab.upstream(pour), lab.upstream(actions.ok("from f1"))
    answer = lab.failover({"p": p, "f1": f1}, {"request_timeout": 60}).chat()
    assert answer.text == "from f1"
    assert p.calls[0].finished.wait(PATIENCE) and p.calls[0].bytes_sent < 20e6


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_J07_short_body(lab, end):
    """Goal: a body shorter than its length moves on; it is never a short 200."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    p, f1 = lab.upstream(actions.raw(head + b"x" * 500, end=end)), lab.upstream(actions.ok("from f1"))
    answer = lab.failover({"p": p, "f1": f1}).chat()
    assert answer.text == "from f1" and (p.count, f1.count) == (1, 1)


def test_J07_short_body_without_fallback(lab):
    """Goal: … and a 502 when there is nobody else."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    p = lab.upstream(actions.raw(head + b"x" * 500))
    answer = lab.failover({"p": p}).chat()
    assert_openai_error(answer, 502)
    assert answer.trail[0][1] in ("stream_broken", "invalid_response")


def test_J07_200_that_is_no_json(lab):
    """Goal: an empty 200 moves on."""
    p, f1 = lab.upstream(actions.answer(200, body=b"")), lab.upstream(actions.ok("from f1"))
    answer = lab.failover({"p": p, "f1": f1}).chat()
    assert answer.text == "from f1" and answer.trail[0][1] in ("empty_response", "invalid_response")


def test_J09_expect_continue(lab):
    """Goal: 8 MiB with Expect get their 100, then 200; the provider sees no Expect of ours."""
    p = lab.upstream(actions.ok())
    gw = lab.failover({"p": p})
    body = b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * (8 << 20) + b'"}]}'
    with gw.client() as c:
        data = c.request_bytes("POST", "/v1/chat/completions",
                               {"Expect": "100-continue", "Content-Type": "application/json"}, body)
        split = data.index(b"\r\n\r\n") + 4
        c.send(data[:split])
        assert c.line() == b"HTTP/1.1 100 Continue" and c.line() == b""
        answer = c.send(data[split:]).read()
    assert answer.status == 200 and answer.interim == []
    assert p.requests[0].header("expect") is None and len(p.requests[0].body) > 8 << 20


def test_J09_refused_without_continue(lab):
    """Goal: a request that is refused by its head gets the 4xx, and no 100 before it."""
    p = lab.upstream(actions.ok())
    gw = lab.failover({"p": p}, config={"limits": {"body": 1024}})
    with gw.client() as c:
        c.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
               b"Content-Length: 5000\r\nExpect: 100-continue\r\n\r\n")
        answer = c.read()
    assert_openai_error(answer, 413)
    assert answer.interim == [] and p.count == 0


@pytest.mark.parametrize("size,chunked", [(3 << 20, True), (300 << 10, False)], ids=["3MiB-chunked", "300KiB-length"])
def test_J10_multipart_upload(lab, size, chunked):
    """Goal: an upload that is no JSON passes unscanned, byte for byte."""
    p = lab.upstream(actions.ok())
    gw = lab.failover({"p": p}, {"targets": ["p"]})
    junk = bytes((n * 7 + n // 251) & 255 for n in range(65536)) * (size // 65536)
    body = (b'--sep\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + junk + b"\r\n--sep--\r\n")
    with gw.client() as c:
        answer = c.request("POST", "/v1/files", {"Content-Type": "multipart/form-data; boundary=sep"}, body,
                           chunked=chunked).read()
    assert answer.status == 200
    assert p.requests[0].body == body and p.requests[0].target == "/v1/files"
    assert p.requests[0].header("content-type") == "multipart/form-data; boundary=sep"
