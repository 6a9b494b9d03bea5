# SPDX-License-Identifier: MIT
"""SCENARIOS.tsv, group M: weights and affinity."""
from support import actions


def test_M01_weights(lab):
    """Goal: weights 4 and 1 give 8 and 2 of ten requests, over all workers."""
    a, b = lab.upstream(actions.ok()), lab.upstream(actions.ok())
    gw = lab.failover({"a": a, "b": b}, {"order": "weighted", "targets": [{"target": "a/x", "weight": 4},
                                                                         {"target": "b/x", "weight": 1}]})
    for _ in range(10):
        assert gw.chat().status == 200
    assert (a.count, b.count) == (8, 2)


def test_M03_affinity(lab):
    """Goal: one session stays on one target; when that fails the session moves, and stays moved."""
    ups = {n: lab.upstream(actions.ok(n)) for n in ("a", "b")}
    gw = lab.failover(ups, {"order": "sticky"})
    session = {"X-Session-Id": "session-1"}
    names = [gw.chat(headers=session).text for _ in range(8)]
    assert len(set(names)) == 1
    home, other = names[0], "b" if names[0] == "a" else "a"
    ups[home].script(actions.fail(500), actions.ok(home))
    assert [gw.chat(headers=session).text for _ in range(4)] == [other] * 4
    assert ups[home].count == 9


def test_M03_sessions_spread(lab):
    """Goal: many sessions do not all land on the same target."""
    ups = {n: lab.upstream(actions.ok(n)) for n in ("a", "b")}
    gw = lab.failover(ups, {"order": "sticky"})
    got = {gw.chat(headers={"X-Session-Id": f"s{n}"}).text for n in range(32)}
    assert got == {"a", "b"}
