# SPDX-License-Identifier: MIT
"""A client that leaves is noticed at once, in each of the four moments, and costs nothing more."""
import threading

import pytest
from support import actions, wire
from support.waiting import PATIENCE, fill_queue, wait_until


def assert_gone(gw, *others):
    entries = gw.log_entries(1 + len(others))
    gone = [e for e in entries if e["end"] == "client_gone"]
    assert len(gone) == 1, entries
    return gone[0]


@pytest.fixture(params=["close", "reset"])
def leave(request):
    return lambda client: client.close() if request.param == "close" else client.abort()


def test_while_queued(lab, leave):
    """Goal: who leaves the queue is never sent, and the place is free again."""
    gate = threading.Event()
    up = lab.upstream(actions.ok("first", gate=gate), actions.ok("third"))
    gw = lab.failover({"p": up}, {"suspend": 60}, options={"max_inflight": 1, "queue": 1, "queue_timeout": 60})
    first = gw.open_chat(stream=False)
    wait_until(lambda: up.count == 1)
    queued, full = fill_queue(gw, model="left")
    assert full.status == 503
    leave(queued)
    wait_until(lambda: [e for e in gw.access_log() if (e["model"], e["end"]) == ("left", "client_gone")],
               "the leaver to be noticed")
    third = gw.open_chat(stream=False, model="third")
    gate.set()
    assert first.read().text == "first" and third.read().text == "third"
    assert up.count == 2 and not gw.suspended("p/p-model")
    first.close()
    third.close()


def test_while_waiting_to_retry(lab, leave):
    """Goal: a wait before a retry ends with the client; the retry is never made."""
    up = lab.upstream(actions.fail(500), actions.ok())
    gw = lab.failover({"p": up}, {"retries": 3, "backoff": {"base": 60, "cap": 60, "jitter": "none"}})
    c = gw.open_chat(stream=False)
    wait_until(lambda: up.count == 1 and up.calls[0].finished.is_set())
    leave(c)
    entry = assert_gone(gw)
    assert entry["total_ms"] < 50000
    gw.stop()
    assert up.count == 1


def test_while_waiting_for_the_first_byte(lab, leave):
    """Goal: the attempt is cancelled at once and its connection closed."""
    up = lab.upstream(actions.silence())
    gw = lab.failover({"p": up, "q": lab.upstream()}, {"suspend": 60})
    c = gw.open_chat(stream=False)
    wait_until(lambda: up.count == 1)
    leave(c)
    assert up.calls[0].finished.wait(PATIENCE) and up.calls[0].ended == "gone"
    assert_gone(gw)
    assert not gw.suspended("p/p-model")


def test_in_mid_stream(lab, leave):
    """Goal: the stream's upstream is closed, and the target is not blamed."""
    up = lab.upstream(actions.endless(0.02))
    gw = lab.failover({"p": up, "q": lab.upstream()}, {"suspend": 60})
    c = gw.open_chat()
    assert c.start().next_event()
    leave(c)
    assert up.calls[0].finished.wait(PATIENCE) and up.calls[0].ended == "gone"
    entry = assert_gone(gw)
    assert entry["target"] == "p/p-model"
    facts = gw.facts("p/p-model")
    assert facts["inflight"] == 0 and facts["suspended_for"] == 0


def test_while_the_provider_stalls_in_mid_stream(lab, leave):
    """Goal: the same when no event comes that could fail to be written."""
    up = lab.upstream(actions.stream(wire.delta("x"), end="keep_open"))
    gw = lab.failover({"p": up}, {"idle_timeout": 0})
    c = gw.open_chat()
    assert c.start().next_event()
    leave(c)
    assert up.calls[0].finished.wait(PATIENCE) and up.calls[0].ended == "gone"
    assert_gone(gw)


def test_while_connecting(lab, leave):
    """Goal: … and while the connection to the provider is still being made."""
    gw = lab.failover({"p": lab.black_hole()}, options={"connect_timeout": 60})
    c = gw.open_chat(stream=False)
    wait_until(lambda: gw.facts("p/p-model").get("inflight") == 1)
    leave(c)
    assert assert_gone(gw)["total_ms"] < 50000


def test_while_the_policy_sleeps(lab, leave):
    """Goal: … and while a policy waits by itself."""
    gw = lab.policy({"p": lab.upstream()}, """
    moongate.log("info", "asleep now")
    req:sleep(60)
    return req:respond { json = {} }
""")
    c = gw.open_chat(stream=False)
    gw.wait_log("asleep now")
    leave(c)
    assert assert_gone(gw)["attempts"] == []


def test_in_a_local_stream(lab, leave):
    """Goal: … and while a policy streams by itself."""
    gw = lab.policy({"p": lab.upstream()}, """
    return req:respond { stream = function(out)
      while true do out:write("data: x\\n\\n") out:sleep(0.02) end
    end }
""")
    c = gw.open_chat()
    assert c.start().next_event()
    leave(c)
    assert_gone(gw)


def test_with_the_body_half_sent(lab, leave):
    """Goal: … and in the middle of its own request: no attempt is made."""
    up = lab.upstream()
    gw = lab.failover({"p": up})
    c = gw.client()
    c.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    leave(c)
    gw.stop()
    assert up.count == 0


def test_with_a_request_pipelined_behind(lab):
    """Goal: a second request in the socket does not hide that the client has left."""
    up = lab.upstream(actions.silence())
    gw = lab.failover({"p": up})
    c = gw.client()
    data = c.request_bytes("POST", "/v1/chat/completions", body={"model": "m"})
    c.send(data + data)
    wait_until(lambda: up.count == 1)
    c.close()
    assert up.calls[0].finished.wait(PATIENCE) and up.calls[0].ended == "gone"


def test_client_that_reads_nothing_and_leaves(lab):
    """Goal: a client whose buffers are full can still leave."""
    def pour(call):
        while True:
            call.event(wire.delta("x" * 20000))
    up = lab.upstream(actions.stream(pour), sndbuf=65536)
    gw = lab.failover({"p": up}, {"idle_timeout": 0})
    c = gw.client(rcvbuf=65536).request("POST", "/v1/chat/completions", body={"model": "m", "stream": True})
    assert c.start().status == 200
    wait_until(lambda: up.calls[0].bytes_sent > 1000000)
    c.abort()
    assert up.calls[0].finished.wait(PATIENCE) and up.calls[0].ended == "gone"
    assert_gone(gw)
