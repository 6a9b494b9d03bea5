# SPDX-License-Identifier: MIT
"""What clients of the admin API may send wrong, and clients that are slow: each is told so, and nothing else suffers."""
import json

import pytest
from support import actions
from support.client import Client, call
from support.gateway import ADMIN_TOKEN

AUTH = ("Authorization", f"Bearer {ADMIN_TOKEN}")
SETTINGS = "/admin/routes/chat/settings"
SUSPEND = "/admin/targets/p%2Fp-model/suspend"


@pytest.fixture
def gw(lab):
    return lab.failover({"p": lab.upstream(actions.ok())}, config={"state_dir": "state"})


def error(answer):
    assert answer.header("content-type") == "application/json" and set(answer.json()) == {"error"}, answer.body
    return answer.json()["error"]


def nested(depth):
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize("body, code", [
    (b"{", "bad_json"), (b"x", "bad_json"), (b'{"a":1}x', "bad_json"), (b"\xff\xfe", "bad_json"), (b'{"a":\x00}', "bad_json"),
    (b'{"a":1,"a":2}', "bad_json"), (b'{"a\\u0000b":1}', "bad_json"), (b'{"a":1e999}', "bad_json"),
    (b'{"a":NaN}', "bad_json"), (nested(33), "bad_json"), (nested(200), "bad_json"), (nested(30000), "bad_json"),
    (b'{"a":[null]}', "bad_json"), (b"[" * 100000, "bad_json"),
    (b"[]", "not_an_object"), (b"[1]", "not_an_object"), (b'"x"', "not_an_object"), (b"7", "not_an_object"),
    (b"", "no_body"), (b" \r\n", "no_body")])
def test_bodies_that_are_no_object(gw, body, code):
    """Goal: what is no JSON object, or one that cannot be kept, is a 400 that says why; the call is on record as refused."""
    answer = gw.api("PUT", SETTINGS, body)
    assert answer.status == 400 and error(answer)["code"] == code, answer.body
    assert [(e["action"], e["result"]) for e in gw.audit()] == [("settings", "refused")]
    assert gw.chat().status == 200


@pytest.mark.parametrize("value", ["null", "-0", "1e308", "9999999999999999999", '"\\ud800"', '"é"', '{"":1}', "[[[[]]]]"])
def test_odd_values_are_judged_by_the_schema(gw, value):
    """Goal: what JSON allows reaches the policy's schema, which refuses it: nothing changes."""
    answer = gw.api("PUT", SETTINGS, b'{"order":%s}' % value.encode())
    assert answer.status in (400, 422)
    assert gw.api("GET", SETTINGS).json()["overlay"] == {}


@pytest.mark.parametrize("path, body, code, said", [
    (SUSPEND, {"secnds": 5}, "unknown_field", 'did you mean "seconds"?'),
    (SUSPEND, {"zzz": 5}, "unknown_field", "seconds, reason, group"),
    (SUSPEND, {"seconds": "5"}, "wrong_type", "seconds: found a string"),
    (SUSPEND, {"seconds": 0}, "out_of_range", "more than 0"),
    (SUSPEND, {"seconds": -1}, "out_of_range", "found -1"),
    (SUSPEND, {"seconds": [1]}, "wrong_type", "found a list"),
    (SUSPEND, {"seconds": True}, "wrong_type", "found a boolean"),
    (SUSPEND, {"reason": 5}, "wrong_type", "reason: found a number"),
    (SUSPEND, {"reason": "x" * 128}, "too_long", "at most 127"),
    (SUSPEND, {"group": "yes"}, "wrong_type", "true or false"),
    ("/admin/targets/p/resume", {"seconds": 1}, "unknown_field", "why"),
    ("/admin/reload", {"way": "x"}, "unknown_field", 'did you mean "why"?'),
    ("/admin/reload", {"why": 1}, "wrong_type", "why"),
    ("/admin/check", {"x": 1}, "unknown_field", "x"),
    ("/admin/generations/1/activate", {"x": 1}, "unknown_field", "x"),
    ("/admin/routes/chat/failover", {}, "missing_field", "enabled"),
    ("/admin/routes/chat/failover", {"enable": True}, "unknown_field", 'did you mean "enabled"?'),
    ("/admin/routes/chat/failover", {"enabled": 1}, "wrong_type", "true or false")])
def test_fields(gw, path, body, code, said):
    """Goal: an unknown field, a wrong type or value is named, with what is expected."""
    answer = gw.api("POST", path, body)
    assert answer.status == 400, answer.body
    assert error(answer)["code"] == code and said in error(answer)["message"], answer.body
    assert gw.facts("p/p-model")["suspended_for"] == 0


def test_a_body_where_none_belongs(gw):
    """Goal: a DELETE with a body is refused, lest somebody thinks it was looked at."""
    assert error(gw.api("DELETE", SETTINGS, {"suspend": 1}))["code"] == "unexpected_body"


def test_bodies_that_are_too_large(gw):
    """Goal: beyond the limit it is a 413, announced or not, and the connection ends."""
    large = json.dumps({"a": "x" * 300_000}).encode()
    assert gw.api("PUT", SETTINGS, large).status == 413
    with Client(gw.admin) as c:
        c.send(b"PUT %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 99999999999\r\n\r\n"
               % (SETTINGS.encode(), ADMIN_TOKEN.encode()))
        answer = c.read()
        assert answer.status == 413 and error(answer)["code"] == "too_large" and c.at_end()
    with Client(gw.admin) as c:
        try:
            c.request("PUT", SETTINGS, [AUTH], large, chunked=True)
        except OSError:
            return
        assert c.read().status == 413


@pytest.mark.parametrize("path", ["/admin/targets/p%/suspend", "/admin/targets/p%2/suspend", "/admin/targets/p%zz/suspend",
                                  "/admin/targets/p%00/suspend"])
def test_bad_encodings(gw, path):
    """Goal: a path that is not percent-encoded as it should be is a 400."""
    assert gw.api("POST", path).status == 400


@pytest.mark.parametrize("value", ["x", '"x"', '"1', "1 2", "", '"1",', "-1", "99999999999999999999", 'W/"0"'])
def test_if_match_of_no_version(gw, value):
    """Goal: an If-Match that names no version matches none: 412 with the version that is, not taken for a wish or for none."""
    answer = gw.api("PUT", SETTINGS, {"suspend": 9}, headers={"If-Match": value})
    told = answer.json()
    assert (answer.status, told["error"]["code"], told["version"]) == (412, "version_conflict", 0)
    assert gw.api("GET", SETTINGS).json()["version"] == 0


def test_why_is_one_line(gw):
    """Goal: what is given as a reason cannot forge lines of the logs, and is cut, not refused."""
    gw.api("POST", SUSPEND, {"why": "a\nb\r\tc\u001b[1m" + "x" * 500})
    entry = gw.audit()[0]
    assert entry["action"] == "suspend" and "\n" not in json.dumps(entry, ensure_ascii=False)


def test_slow_clients_hold_nobody_up(gw):
    """Goal: clients that send half a call, or do not read their answer, block neither others nor traffic."""
    slow = []
    for data in (b"PO", b"POST /admin/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 10\r\n\r\n{"
                 % ADMIN_TOKEN.encode()):
        slow += [Client(gw.admin).send(data) for _ in range(20)]
    mute = Client(gw.admin)
    for _ in range(200):
        mute.send(mute.request_bytes("GET", "/admin/routes", [AUTH]))
    for _ in range(5):
        assert gw.api("GET", "/admin/status").status == 200 and gw.chat().status == 200
        assert gw.api("POST", SUSPEND.replace("p-model", "other"), {"seconds": 1}).status == 200
    for c in [*slow, mute]:
        c.close()


def test_any_content_type(gw):
    """Goal: a body is JSON whatever its type is called."""
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert gw.api("POST", SUSPEND, {"seconds": 1}, headers={"Content-Type": kind}).status == 200


def test_pipelined_calls(gw):
    """Goal: calls on one connection are answered in order."""
    with Client(gw.admin) as c:
        for path in ("/admin/status", "/admin/nothing", "/healthz"):
            c.send(c.request_bytes("GET", path, [AUTH]))
        assert [c.read().status for _ in range(3)] == [200, 404, 200]
    assert call(gw.admin, "GET", "/healthz").status == 200
