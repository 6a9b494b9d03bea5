# SPDX-License-Identifier: MIT
"""SCENARIOS.tsv, group F: every clock of an attempt and of a request."""
import time

import pytest
from support import actions, wire
from support.client import assert_openai_error
from support.waiting import PATIENCE

LIMIT = 1.5  # seconds: what keeps silent passes it, what answers at once stays within it on a slow machine as well


def pair(lab, first, second=None):
    return lab.upstream(first), lab.upstream(second or actions.talk("from f1"))


@pytest.mark.parametrize("clock", ["first_packet_timeout", "request_timeout"])
def test_F01_silent_provider(lab, clock):
    """Goal: a provider that accepts and says nothing is left for the next."""
    p, f1 = pair(lab, actions.silence())
    answer = lab.failover({"p": p, "f1": f1}, {clock: LIMIT}).chat(stream=True)
    assert answer.status == 200 and wire.text_of(answer.events()) == "from f1"
    assert answer.elapsed >= LIMIT
    assert (p.count, f1.count) == (1, 1)
    assert p.calls[0].finished.wait(PATIENCE) and p.calls[0].ended == "gone"


@pytest.mark.parametrize("noise", [[], [wire.role()], [b": ping\n\n", 0.2, b": ping\n\n", 0.2, b": ping\n\n"]])
def test_F01_noise_is_no_content(lab, noise):
    """Goal: a head, a role or pings do not stop the clock of the first content."""
    p, f1 = pair(lab, actions.stream(*noise, end="keep_open"))
    answer = lab.failover({"p": p, "f1": f1}, {"first_packet_timeout": LIMIT}).chat(stream=True)
    assert wire.text_of(answer.events()) == "from f1" and answer.elapsed >= LIMIT
    assert answer.trail[0][:2] == ("p/p-model", "timeout_first_token")


def test_F01_streams_only(lab):
    """Goal: first_packet_timeout does not hurry an answer that is no stream."""
    p, f1 = pair(lab, actions.ok("from p", delay=0.8))
    assert lab.failover({"p": p, "f1": f1}, {"first_packet_timeout": 0.3}).chat().text == "from p"


def test_F02_silence_in_mid_stream(lab):
    """Goal: silence after content ends the stream visibly; nobody else is asked; the provider is let go."""
    p, f1 = pair(lab, actions.stream(wire.delta("one"), end="keep_open"))
    gw = lab.failover({"p": p, "f1": f1}, {"idle_timeout": 0.7})
    began = time.monotonic()
    with gw.open_chat() as c:
        answer = c.start()
        first = answer.next_event()
        rest = answer.events()
    assert wire.text_of([first]) == "one" and rest[-1].error and not any(e.done for e in rest)
    assert not answer.clean and answer.ended_at - began >= 0.7
    assert (p.count, f1.count) == (1, 0)
    assert p.calls[0].finished.wait(PATIENCE) and p.calls[0].ended == "gone"
    assert gw.entry(answer)["attempts"][-1]["outcome"] == "timeout_idle"


def test_F02_pings_are_no_content(lab):
    """Goal: the idle clock runs on content only."""
    def ping(call):
        while True:
            call.event(b": ping\n\n")
            call.sleep(0.1)
    p = lab.upstream(actions.stream(wire.delta("one"), ping))
    answer = lab.failover({"p": p}, {"idle_timeout": 0.7}).chat(stream=True)
    assert answer.status == 200 and not answer.clean and answer.elapsed >= 0.7


def test_F03_slow_second_event(lab):
    """Goal: the limit to the first content says nothing about the second."""
    p = lab.upstream(actions.stream(wire.delta("one "), 3.2, wire.delta("two"), wire.finish(), wire.DONE))
    answer = lab.failover({"p": p}, {"first_packet_timeout": 2.5, "idle_timeout": 0, "request_timeout": 3}).chat(stream=True)
    assert answer.clean and wire.text_of(answer.events()) == "one two" and answer.elapsed >= 3.2


def test_F06_swallowed_packets(lab):
    """Goal: an address that swallows packets ends with the connect limit, as a 504."""
    hole = lab.black_hole()
    gw = lab.failover({"p": hole}, options={"connect_timeout": 0.4})
    answer = gw.chat()
    assert_openai_error(answer, 504)
    assert answer.elapsed >= 0.4 and answer.trail == [("p/p-model", "timeout_connect", 0)]
    assert hole.address.encode() not in answer.body


def test_F06_refused(lab):
    """Goal: a refused connection is a 502."""
    refusing = lab.refusing()
    answer = lab.failover({"p": refusing}).chat()
    assert_openai_error(answer, 502)
    assert answer.trail == [("p/p-model", "connect_error", 0)] and refusing.address.encode() not in answer.body


def test_F06_unknown_name(lab):
    """Goal: a name that does not resolve is a 502, by an outcome of its own."""
    up = lab.refusing()
    up.base_url = "http://no-such-host.invalid/v1"
    answer = lab.failover({"p": up}).chat()
    assert_openai_error(answer, 502)
    assert answer.trail == [("p/p-model", "dns_error", 0)]


@pytest.mark.parametrize("settings,options", [
    ({"request_timeout": 6}, {"request_timeout": 0.6}),
    ({"request_timeout": 0.6}, {"request_timeout": 6}),
    ({"targets": [{"target": "p/p-model", "request_timeout": 0.6}], "request_timeout": 6}, {"request_timeout": 6}),
], ids=["provider", "settings", "target"])
def test_F07_shortest_limit_wins(lab, settings, options):
    """Goal: of the limits of provider, settings and target the shortest ends the attempt."""
    p = lab.upstream(actions.ok(delay=6))
    answer = lab.failover({"p": p}, settings, options).chat()
    assert_openai_error(answer, 504)
    assert answer.elapsed >= 0.6 and p.count == 1


def test_F07_dripping_head(lab):
    """Goal: an answer that trickles in does not outlive the limit."""
    p, f1 = pair(lab, actions.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Slow: x\r\n" * 100, every=0.03),
                 actions.ok("from f1"))
    answer = lab.failover({"p": p, "f1": f1}, {"request_timeout": LIMIT}).chat()
    assert answer.text == "from f1" and answer.elapsed >= LIMIT
    assert answer.trail[0][1].startswith("timeout_")


def test_F10_deadline_over_all_attempts(lab):
    """Goal: the deadline ends all tries and waits together."""
    ups = {f"t{n}": lab.upstream(actions.fail(500, delay=1)) for n in (1, 2, 3)}
    answer = lab.failover(ups, {"retries": 10, "backoff": {"base": 0.01}, "deadline": 1.7}).chat()
    assert answer.status >= 500
    assert 1 <= sum(up.count for up in ups.values()) <= 2
    assert answer.elapsed >= 1.0


def test_F10_deadline_while_waiting(lab):
    """Goal: a deadline that passes during an attempt is a 504."""
    p = lab.upstream(actions.silence())
    answer = lab.failover({"p": p}, {"deadline": 0.6}).chat()
    assert_openai_error(answer, 504)
    assert answer.elapsed >= 0.6 and p.count == 1
    assert p.calls[0].finished.wait(PATIENCE) and p.calls[0].ended == "gone"


def test_F10_deadline_does_not_cut_a_stream(lab):
    """Goal: the deadline counts up to the commit; a stream that flows lives on."""
    p = lab.upstream(actions.stream(wire.delta("one "), 3, wire.delta("two"), wire.finish(), wire.DONE))
    answer = lab.failover({"p": p}, {"deadline": 2.5}).chat(stream=True)
    assert answer.clean and wire.text_of(answer.events()) == "one two"
