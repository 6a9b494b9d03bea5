# SPDX-License-Identifier: MIT
"""
Eight thousand open streams on one machine: every byte of every stream in order, and what one costs. Against the plain -O2 build, since a sanitizer's memory is
no measure and its speed would make this the slowest of all tests. CROWD_STREAMS sets another number.
"""
import os

import pytest
from support.crowd import Crowd, limit, streams_possible
from support.gateway import PLAIN, Gateway
from support.waiting import wait_until

STREAMS = streams_possible(int(os.environ.get("CROWD_STREAMS", 8000)))
STREAM_BYTES = 40 * 1024    # DESIGN section 10, the first bar


class Plain(Gateway):
    binary = PLAIN


@pytest.fixture
def crowd(tmp_path):
    made = Crowd(tmp_path)
    yield made
    made.stop()


def test_thousands_of_streams(lab, crowd, tmp_path):
    """Goal: all streams deliver all bytes in order, none fails, each costs no more than 40 KiB of the gateway's memory, and afterwards nothing is left."""
    gw = Plain(tmp_path / "plain", {
        "log": {"access": "access.log"},
        "providers": {"p": {"base_url": crowd.base_url, "max_inflight": 20000}},
        "routes": [{"name": "chat", "path": "/v1/*", "policy": "failover",
                    "settings": {"targets": ["p/m"], "idle_timeout": 600, "request_timeout": 600, "deadline": 600}}]})
    try:
        assert gw.metric("moongate_connections_limit") >= STREAMS, "descriptors do not suffice"
        before = gw.rss()
        assert crowd.open(gw, STREAMS) == STREAMS
        each = (gw.rss() - before) / STREAMS
        assert gw.metric("moongate_requests_inflight") == STREAMS
        assert crowd.tell("send 5") == STREAMS * 6
        flowing = (gw.rss() - before) / STREAMS
        print(f"{STREAMS} streams: {each / 1024:.1f} KiB each when open, {flowing / 1024:.1f} KiB after six events")
        assert max(each, flowing) <= STREAM_BYTES, (each, flowing)
        assert crowd.tell("end") == STREAMS
        wait_until(lambda: gw.metric("moongate_requests_inflight") == 0, "all requests to be over")
        assert gw.metric("moongate_requests_total", route="chat", status="200", end="complete") == STREAMS
        assert gw.metric("moongate_requests_total") == STREAMS
        assert gw.metric("moongate_refused_total") == gw.metric("moongate_memory_refused_total") == gw.metric("moongate_accept_pauses_total") == 0
        assert gw.metric("moongate_log_dropped_total") == 0
        wait_until(lambda: gw.fds() < STREAMS + 2 * limit("MAX_IDLE_UPSTREAM") + 100, "the providers' connections to be closed")
        assert gw.metric("moongate_memory_bytes") == 0
    finally:
        gw.stop()
