# SPDX-License-Identifier: MIT
"""SCENARIOS.tsv, group G: clients that leave."""
import pytest
from support import actions, wire
from support.waiting import PATIENCE, wait_until


def leave(client, how):
    client.abort() if how == "reset" else client.close()


def assert_cancelled(gw, call):
    """The provider saw its connection close, and the one entry of the log says why."""
    assert call.finished.wait(PATIENCE) and call.ended == "gone"
    entry = gw.log_entries(1)[0]
    assert entry["end"] == "client_gone"
    return entry


@pytest.mark.parametrize("how", ["close", "reset"])
def test_G01_leaves_in_mid_stream(lab, how):
    """Goal: a client that drops the stream costs only the events already on their way."""
    p = lab.upstream(actions.endless(0.03, limit=2000))
    gw = lab.failover({"p": p}, {"suspend": 60})
    c = gw.open_chat()
    answer = c.start()
    for _ in range(3):
        assert answer.next_event()
    leave(c, how)
    assert_cancelled(gw, p.calls[0])
    assert p.calls[0].events_sent < 2000
    assert not gw.suspended("p/p-model")


@pytest.mark.parametrize("stream", [True, False], ids=["G02-stream", "G03-plain"])
def test_G02_G03_leaves_before_the_first_byte(lab, stream):
    """Goal: a client that leaves while the provider is thinking cancels it, and blames nobody."""
    p = lab.upstream(actions.silence(), actions.ok())
    gw = lab.failover({"p": p}, {"suspend": 60, "trigger": "any", "breaker": {"failures": 1, "recovery": 60}})
    c = gw.open_chat(stream=stream)
    wait_until(lambda: p.calls)
    c.close()
    entry = assert_cancelled(gw, p.calls[0])
    assert [a["outcome"] for a in entry["attempts"]] in ([], ["client_gone"], ["cancelled"])
    assert gw.chat().status == 200 and p.count == 2


def test_G02_leaves_between_head_and_content(lab):
    """Goal: the same when the provider's head and a role have come, but no content."""
    p = lab.upstream(actions.stream(wire.role(), end="keep_open"))
    gw = lab.failover({"p": p})
    c = gw.open_chat()
    wait_until(lambda: p.calls and p.calls[0].events_sent)
    c.close()
    assert_cancelled(gw, p.calls[0])


def test_G06_one_record_of_a_stream_cut_short(lab):
    """Goal: exactly one entry in the log, marked as cut short by the client."""
    p = lab.upstream(actions.stream(*[wire.delta(f"{n} ") for n in range(10)], end="keep_open"), actions.ok())
    gw = lab.failover({"p": p})
    c = gw.open_chat()
    answer = c.start()
    for _ in range(5):
        assert answer.next_event()
    c.close()
    entry = assert_cancelled(gw, p.calls[0])
    assert entry["stream"] is True and entry["target"] == "p/p-model" and entry["response_bytes"] > 0
    assert gw.chat().status == 200
    assert [e["end"] for e in gw.log_entries(2)] == ["client_gone", "complete"]


def test_G07_nothing_leaks(lab):
    """Goal: two hundred dropped streams leave no descriptor, no slot and no connection behind."""
    streams = actions.endless(0.02)
    p = lab.upstream(*[actions.ok()] * 4, *[streams] * 200, actions.ok())
    gw = lab.failover({"p": p}, options={"max_inflight": 10})
    for _ in range(4):
        assert gw.chat().status == 200
    before = gw.fds()
    for n in range(200):
        with gw.open_chat() as c:
            assert c.start().next_event()
    for _ in range(50):
        assert gw.chat().status == 200
    assert p.count == 254
    wait_until(lambda: gw.fds() <= before + 4, "the descriptors to be closed")
    wait_until(lambda: p.open_connections <= 10, "the connections to be closed")
    wait_until(lambda: gw.facts("p/p-model")["inflight"] == 0, "the slots to be free")
    assert [e["end"] for e in gw.log_entries(254)].count("client_gone") == 200
