# SPDX-License-Identifier: MIT
"""Who may do what through the admin API: two tokens, methods, and what is told of it."""
import pytest
from support import actions
from support.client import Client
from support.gateway import ADMIN_TOKEN

READ = "read-token-of-the-tests"
CHANGES = [("POST", "/admin/reload"), ("POST", "/admin/check"), ("PUT", "/admin/routes/chat/settings"),
           ("DELETE", "/admin/routes/chat/settings"), ("DELETE", "/admin/routes/chat/settings/suspend"),
           ("POST", "/admin/routes/chat/failover"), ("POST", "/admin/targets/p/suspend"), ("POST", "/admin/targets/p/resume"),
           ("POST", "/admin/generations/1/activate")]
PAGES = ["/admin/", "/admin/status", "/admin/targets", "/admin/routes", "/admin/routes/chat", "/admin/routes/chat/settings",
         "/admin/generations"]


@pytest.fixture
def gw(lab):
    return lab.failover({"p": lab.upstream(actions.ok())}, config={
        "state_dir": "state", "admin": {"listen": "127.0.0.1:0", "token": ADMIN_TOKEN, "read_token": READ}})


def code(answer):
    return answer.json()["error"]["code"]


@pytest.mark.parametrize("path", PAGES)
def test_pages_need_one_of_the_tokens(gw, path):
    """Goal: both tokens may look; anything else is a 401 that says what is needed."""
    assert [gw.api("GET", path, token=token).status for token in (ADMIN_TOKEN, READ)] == [200, 200]
    for token in (None, "", "x", READ + "x", READ[:-1], ADMIN_TOKEN + READ):
        answer = gw.api("GET", path, token=token)
        assert (answer.status, code(answer), answer.header("www-authenticate")) == (401, "unauthorised", "Bearer")
    for scheme in (f"Basic {READ}", READ, f"Bearer{READ}"):
        assert gw.api("GET", path, token=None, headers={"Authorization": scheme}).status == 401
    assert gw.api("HEAD", path, token=READ).status == 200


@pytest.mark.parametrize("method, path", CHANGES)
def test_changes_need_the_full_token(gw, method, path):
    """Goal: the read-only token changes nothing, and the attempt is on record; no token is no better."""
    answer = gw.api(method, path, token=READ)
    assert (answer.status, code(answer)) == (403, "read_only_token")
    assert gw.api(method, path, token=None).status == 401
    entries = gw.audit()
    if path == "/admin/check":
        assert entries == []
    else:
        assert [e["result"] for e in entries] == ["refused"] and entries[0]["who"].startswith("admin (read) 127.0.0.1:")


def test_two_authorizations(gw):
    """Goal: a request with two credentials has none."""
    with Client(gw.admin) as c:
        c.request("GET", "/admin/status", [("Authorization", f"Bearer {ADMIN_TOKEN}")] * 2)
        assert c.read().status == 401


def test_a_body_is_not_read_from_strangers(gw):
    """Goal: who has no token is refused before the body is read."""
    with Client(gw.admin) as c:
        c.send(b"PUT /admin/routes/chat/settings HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        answer = c.read()
        assert (answer.status, code(answer), answer.header("www-authenticate")) == (401, "unauthorised", "Bearer")


def test_open_without_tokens(lab):
    """Goal: with neither token configured, on loopback, changes are possible, too."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"admin": {"listen": "127.0.0.1:0"}})
    assert gw.api("GET", "/admin/status", token=None).status == 200
    assert gw.api("POST", "/admin/targets/p%2Fx/suspend", token=None).status == 200
    assert gw.api("GET", "/admin/status", token="whatever").status == 200


@pytest.mark.parametrize("host, status", [
    ("localhost", 200), ("LOCALHOST:9090", 200), ("127.0.0.1:9090", 200), ("127.1.2.3", 200), ("[::1]:9090", 200), ("evil.example", 401),
    ("evil.example:9090", 401), ("127.evil.example", 401), ("localhost.evil.example", 401), ("10.0.0.1", 401)])
def test_only_local_names_without_tokens(lab, host, status):
    """Goal: where no token is asked for, a page whose own name was made to lead to this machine gets nothing either."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"admin": {"listen": "127.0.0.1:0"}})
    with Client(gw.admin) as c:
        c.send(f"GET /admin/status HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n\r\n".encode())
        assert c.read().status == status


def test_pages_of_other_origins_change_nothing(lab):
    """Goal: where no token is asked for, a page in somebody's browser still cannot change anything; the admin's own could."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"admin": {"listen": "127.0.0.1:0"}})
    for origin in ("http://evil.example", "null", f"http://{gw.admin}.evil.example", f"http://evil.example/{gw.admin}", ""):
        answer = gw.api("POST", "/admin/targets/p%2Fp-model/suspend", token=None, headers={"Origin": origin})
        assert (answer.status, code(answer)) == (403, "cross_origin")
    assert not gw.suspended("p/p-model")
    assert gw.api("POST", "/admin/check", token=None, headers={"Origin": f"http://{gw.admin}"}).status == 200


def test_tokens_change_with_a_reload(gw):
    """Goal: a new token counts from the next call on, the old one no more."""
    text = (gw.folder / "gateway.lua").read_text()
    gw.write("gateway.lua", text.replace(ADMIN_TOKEN, "another-token-altogether"))
    assert gw.api("POST", "/admin/reload").status == 200
    assert gw.api("GET", "/admin/status").status == 401
    assert gw.api("GET", "/admin/status", token="another-token-altogether").status == 200


@pytest.mark.parametrize("method, path, allow", [
    ("POST", "/admin/status", "GET, HEAD"), ("DELETE", "/metrics", "GET, HEAD"), ("GET", "/admin/reload", "POST"),
    ("HEAD", "/admin/check", "POST"), ("PATCH", "/admin/routes/chat/settings", "GET, HEAD, PUT, DELETE"),
    ("POST", "/admin/routes/chat/settings/x", "DELETE"), ("GET", "/admin/targets/a/b/suspend", "POST")])
def test_methods(gw, method, path, allow):
    """Goal: a method that a path does not have is a 405 that names those it has."""
    answer = gw.api(method, path)
    assert (answer.status, answer.header("allow")) == (405, allow)


@pytest.mark.parametrize("path", ["/admin/x", "/admin/status/", "/admin//status", "/admin/routes/", "/admin/routes/a/b",
                                  "/admin/targets//suspend", "/admin/targets/suspend", "/admin/generations/1", "/admin/%73tatus"])
def test_unknown_paths(gw, path):
    """Goal: what is not there is a 404, whatever it resembles, and a 401 for strangers."""
    assert gw.api("GET", path).status == 404
    assert gw.api("GET", path, token=None).status == 401


def test_secrets_are_in_no_answer(lab):
    """Goal: no key, token or secret is shown, wherever it stands in the configuration."""
    up = lab.upstream(actions.ok())
    secrets = ["sk-provider-p", "client-secret-of-a-key", ADMIN_TOKEN, READ]
    gw = lab.failover({"p": up}, {"targets": [{"target": "p/x", "headers": {"x-key": "sk-provider-p"}, "set": {"sk-provider-p": 1}}]},
                      config={"keys": [{"name": "k", "secret": "client-secret-of-a-key"}], "state_dir": "state",
                              "admin": {"listen": "127.0.0.1:0", "token": ADMIN_TOKEN, "read_token": READ}})
    for secret in secrets:
        gw.api("POST", "/admin/targets/p%2Fx/suspend", {"reason": f"for {secret}"}, headers={"X-Moongate-Why": secret})
        gw.api("PUT", "/admin/routes/chat/settings", {"targets": [{"target": "p/x", "headers": {"a": secret}}]}, headers={"X-Moongate-Why": secret})
        for path in PAGES:
            body = gw.api("GET", path).body.decode()
            assert not [s for s in secrets if s in body], (path, body)
        for method, path in CHANGES:
            for body in (None, {secret: secret}, {"seconds": secret}):
                answer = gw.api(method, path.replace("chat", secret), body).body.decode()
                assert not [s for s in secrets if s in answer], (path, answer)
    assert "***" in gw.api("GET", "/admin/routes").body.decode()
    audit = (gw.folder / "state/audit.log").read_text()
    assert audit and not [s for s in secrets if s in audit or s in gw.stderr]
