# SPDX-License-Identifier: MIT
"""The tests' own tools, held against each other without a gateway: they must see the faults they are made for."""
import socket
import threading
import time

import pytest
from support import actions, wire
from support.client import Client, assert_openai_error, call, chat_body
from support.gateway import Raw, lua, parse_metrics
from support.waiting import PATIENCE, wait_until


def ask(upstream, stream=False, **more):
    return call(upstream.address, body=chat_body(stream), **more)


def test_script_order_and_records(lab):
    """Goal: actions are taken in order, the last repeats, and requests are recorded as they came."""
    up = lab.upstream(actions.fail(500), actions.ok("two"))
    assert ask(up).status == 500
    assert ask(up, headers=[("X-Odd", "a"), ("x-odd", "b")]).text == "two"
    assert ask(up).text == "two"
    assert up.count == 3 and up.connections == 3
    assert up.requests[1].all("X-ODD") == ["a", "b"]
    assert up.requests[0].json()["model"] == "m"
    assert [r.number for r in up.requests] == [1, 2, 3]
    wait_until(lambda: up.open_connections == 0)


def test_paths_have_scripts_of_their_own(lab):
    """Goal: calls of a health path are neither counted nor scripted with the others."""
    up = lab.upstream(actions.ok()).on("/v1/models", actions.fail(503), actions.ok())
    assert call(up.address, "GET", "/v1/models").status == 503
    assert call(up.address, "GET", "/v1/models").status == 200
    assert up.count == 0 and len(up.calls_to("/v1/models")) == 2


def test_keep_alive_and_chunked_requests(lab):
    """Goal: several requests share a connection; a chunked body is put together."""
    up = lab.upstream(actions.ok())
    with Client(up.address) as c:
        for _ in range(2):
            assert c.request("POST", "/v1/x", body=b"a" * 200000, chunked=True).read().clean
    assert up.connections == 1 and up.requests[1].connection == 1
    assert up.requests[1].body == b"a" * 200000


@pytest.mark.parametrize("end,ended", [("clean", "clean"), ("fin", "cut"), ("rst", "reset")])
def test_endings_are_told_apart(lab, end, ended):
    """Goal: the client sees the difference between an end, a cut and a reset."""
    up = lab.upstream(actions.stream(wire.delta("a"), wire.delta("b"), end=end))
    with Client(up.address) as c:
        answer = c.request("POST", "/v1/x", body=chat_body(True)).start()
        first = answer.next_event()
        assert first.data.startswith("{")
        answer.events()
        assert answer.ended == ended or (end == "rst" and answer.ended == "cut")


def test_short_body_is_a_cut(lab):
    """Goal: a body shorter than its Content-Length is no clean end."""
    up = lab.upstream(actions.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"))
    assert ask(up).ended == "cut"


def test_events_and_bytes_are_counted(lab):
    """Goal: one byte per write changes nothing in what arrives; events are counted."""
    up = lab.upstream(actions.talk("é", "😀", one_by_one=True))
    answer = ask(up, stream=True)
    events = answer.events()
    assert answer.clean and wire.text_of(events) == "é😀" and events[-1].done
    assert up.calls[0].events_sent == 5


def test_client_leaving_is_noticed(lab):
    """Goal: the upstream notices a peer that leaves while it says nothing, and while it streams."""
    for action in (actions.silence(), actions.endless(0.01)):
        up = lab.upstream(action)
        c = Client(up.address).request("POST", "/v1/x", body=chat_body(True))
        wait_until(lambda: up.calls)
        c.close()
        assert up.calls[0].finished.wait(PATIENCE)
        assert up.calls[0].ended == "gone" and up.calls[0].peer_closed_at > 0


def test_gates_hold_an_answer(lab):
    """Goal: a test decides when a provider goes on."""
    gate = threading.Event()
    up = lab.upstream(actions.ok("late", gate=gate))
    c = Client(up.address).request("POST", "/v1/x", body=chat_body())
    wait_until(lambda: up.calls)
    c.sock.settimeout(0.1)
    with pytest.raises(TimeoutError):
        c.line()
    gate.set()
    c.sock.settimeout(10)
    assert c.read().text == "late"


def test_back_pressure_holds_the_upstream(lab):
    """Goal: bytes_sent stands still when nobody reads."""
    up = lab.upstream(actions.stream(wire.delta("x" * 1000000), *[wire.delta("y" * 1000000)] * 40))
    c = Client(up.address, rcvbuf=65536).request("POST", "/v1/x", body=chat_body(True))
    assert c.start().status == 200
    wait_until(lambda: up.calls[0].bytes_sent > 100000)
    assert not up.calls[0].finished.wait(0.3)
    assert up.calls[0].bytes_sent < 30e6


def test_refused_and_black_hole(lab):
    """Goal: nothing listens here; and there, connecting never ends."""
    with pytest.raises(ConnectionRefusedError):
        Client(lab.refusing().address)
    with pytest.raises(TimeoutError):
        Client(lab.black_hole().address, timeout=0.5)


def test_closing_unread(lab):
    """Goal: the connection ends before anything is read, and is no recorded call."""
    up = lab.upstream(actions.close_unread(), actions.ok())
    try:
        with Client(up.address) as c:
            assert c.at_end()
    except ConnectionResetError:
        pass     # so soon that connecting already tells
    assert ask(up).status == 200
    assert up.unread == 1 and up.count == 1


def test_a_broken_script_is_reported(lab):
    """Goal: a mistake in a script fails the test, rather than looking like a dead provider."""
    up = lab.upstream(lambda call: 1 / 0)
    with Client(up.address) as c:
        assert c.request("POST", "/", body=b"").at_end()
    wait_until(lambda: up.problems)
    with pytest.raises(AssertionError):
        up.stop()
    lab.upstreams.remove(up)


def test_drip_takes_its_time(lab):
    """Goal: an answer that trickles arrives whole, and slowly."""
    up = lab.upstream(actions.drip(b"HTTP/1.1 204 No\r\n\r\n", every=0.01))
    started = time.monotonic()
    assert ask(up).status == 204
    assert time.monotonic() - started >= 0.15


def test_lua_literals():
    """Goal: configurations are written as they are meant."""
    assert lua('a"b\\\n') == '"a\\"b\\\\\\010"'
    assert lua({"a": [1, 2.5, True, None], "b": {}}) == (
        '{\n  ["a"] = {\n    1,\n    2.5,\n    true,\n    nil,\n  },\n  ["b"] = {},\n}')
    assert lua({"k": Raw('env("X")')}) == '{\n  ["k"] = env("X"),\n}'


def test_metrics_are_parsed():
    """Goal: names, labels with quotes, and values."""
    samples = parse_metrics('# HELP a b\na{x="1",y="q\\"z"} 3\nb 1e3\n')
    assert samples[0].labels == {"x": "1", "y": 'q\\"z'} and samples[1].value == 1000
    with pytest.raises(AssertionError):
        parse_metrics("not a metric\n")


def test_error_shape_is_demanded(lab):
    """Goal: the helper that judges errors refuses what is not one."""
    up = lab.upstream(actions.fail(404), actions.answer(404, {"error": "no"}), actions.ok())
    assert_openai_error(ask(up), 404)
    with pytest.raises((AssertionError, TypeError)):
        assert_openai_error(ask(up), 404)
    with pytest.raises((AssertionError, KeyError)):
        assert_openai_error(ask(up))


def test_pipelining_client(lab):
    """Goal: two requests in one write are answered one after another."""
    up = lab.upstream(actions.ok("1"), actions.ok("2"))
    with Client(up.address) as c:
        c.send(c.request_bytes("POST", "/a", body=b"{}") + c.request_bytes("POST", "/b", body=b"{}"))
        assert [c.read().text, c.read().text] == ["1", "2"]


def test_half_open_socket_is_not_an_answer(lab):
    """Goal: a server that closes without answering raises, rather than yielding an empty answer."""
    up = lab.upstream(actions.hang_up())
    with Client(up.address) as c, pytest.raises((EOFError, ConnectionResetError)):
        c.request("POST", "/", body=b"{}").read()
    assert isinstance(c.sock, socket.socket)
