# SPDX-License-Identifier: MIT
"""core/admin/openapi.json against the gateway: the same calls, and every answer as the file describes it."""
import json

import pytest
from support import actions
from support.gateway import ADMIN_TOKEN, ROOT, Raw
from support.schema import Validator

API = json.loads((ROOT / "core/admin/openapi.json").read_text())
CHECK = Validator(API)
READ_TOKEN = "read-token-of-the-tests"
UNSEEN = {"500", "503"}  # a disk that fails, a gateway that is being stopped
SETTINGS = "/admin/routes/{name}/settings"
CHAT = "/admin/routes/chat/settings"
PLAIN_SETTINGS = "/admin/routes/plain/settings"


def operations():
    return {(method.upper(), path): about for path, methods in API["paths"].items() for method, about in methods.items()}


PLAIN = """return { name = "plain", version = "1.0", settings = { x = { type = "number", required = true } },
  handle = function(req) return req:send("q/x") end }
"""
KEY = 'file("note")'


def plain_route(settings):
    return 'routes"] = { { name = "plain", path = "/plain", policy = "plain", settings = { %s } },' % settings


@pytest.fixture
def gw(lab):
    p, q = lab.upstream(actions.fail(500)), lab.upstream(actions.ok())
    p.options = {"api_key": Raw(KEY)}
    gateway = lab.failover({"p": p, "q": q}, {"suspend": 60}, policies={"plain": PLAIN}, files={"note": "a-note"}, config={
        "state_dir": "state", "admin": {"listen": "127.0.0.1:0", "token": ADMIN_TOKEN, "read_token": READ_TOKEN}})
    assert gateway.chat().status == 200
    return gateway


def test_the_same_calls(gw):
    """Goal: the file names the calls that there are and no other, in the same words."""
    told = {(c["method"], c["path"]): c["summary"] for c in gw.api("GET", "/admin/").json()["calls"]}
    assert told == {key: about["summary"] for key, about in operations().items()}


def test_the_file_is_sound():
    """Goal: every reference leads somewhere, every {part} of a path is described, ids of parameters are used once."""
    text = json.dumps(API)
    for name in API["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text, f"{name} is never used"
    for (method, path), about in operations().items():
        parts = {p["name"] for p in about.get("parameters", []) if p["in"] == "path"}
        assert parts == {part.strip("{}") for part in path.split("/") if part.startswith("{")}, path
        for answer in about["responses"].values():
            for content in answer["content"].values():
                CHECK.resolve(content["schema"])


def test_the_validator_sees_mistakes():
    """Goal: the validator of these tests does refuse what is wrong."""
    schema = {"$ref": "#/components/schemas/Checked"}
    good = {"ok": True, "active": 1, "warnings": [{"file": "f", "line": 0, "message": "m"}]}
    assert CHECK.problems(good, schema) == []
    for wrong in ({**good, "ok": False}, {**good, "more": 1}, {**good, "active": -1}, {**good, "active": 1.5}, {"ok": True},
                  {**good, "warnings": [{"file": 1, "line": 0, "message": "m"}]}, [good], {**good, "active": True}):
        assert CHECK.problems(wrong, schema), wrong
    with pytest.raises(AttributeError):
        CHECK.problems(1, {"maximum": 3})


class Calls:
    """Makes calls, and holds each answer against the file."""

    def __init__(self, gw):
        self.gw, self.seen = gw, {}

    def make(self, method, path, to=None, body=None, **more):
        answer = self.gw.api(method, to or path, body, **more)
        about = operations()[method, path]
        status = str(answer.status)
        assert status in about["responses"], (method, to, status, answer.body)
        self.seen.setdefault((method, path), set()).add(status)
        content = about["responses"][status]["content"]
        assert answer.header("content-type") in content, answer.headers
        if answer.header("content-type") == "application/json":
            problems = CHECK.problems(answer.json(), content["application/json"]["schema"])
            assert problems == [], (method, path, status, answer.body)
        assert ("ETag" in about["responses"][status].get("headers", {})) <= (answer.header("etag") is not None)
        return answer

    def missing(self):
        return sorted((method, path, status) for (method, path), about in operations().items()
                      for status in set(about["responses"]) - UNSEEN - self.seen.get((method, path), set()))


def test_every_answer(gw):
    """Goal: each call, with each status that the file names for it, answers as described."""
    c = Calls(gw)
    text = (gw.folder / "gateway.lua").read_text()
    reads = [(m, p) for m, p in operations() if m == "GET"]
    for method, path in operations():
        if path.startswith("/admin/"):
            c.make(method, path, fill(path), token="wrong")
            if method != "GET":
                c.make(method, path, fill(path), token=READ_TOKEN)
    for method, path in reads:
        c.make(method, path, fill(path))
        if "{name}" in path:
            c.make(method, path, fill(path).replace("chat", "nothing"))
    suspend, resume = (f"/admin/targets/{{target}}/{what}" for what in ("suspend", "resume"))
    for path in (suspend, resume):
        c.make("POST", path, fill(path), {"why": "a test"})
        c.make("POST", path, fill(path), {"secnds": 1})
        c.make("POST", path, fill(path).replace("p%2F", "x%2F"))
    c.make("POST", suspend, fill(suspend), {"group": True})
    change_settings(c)
    failover(c)
    c.make("GET", "/admin/targets")
    loads(c, text)
    assert c.missing() == []


def fill(path):
    return path.replace("{target}", "p%2Fp-model").replace("{name}", "chat").replace("{key}", "suspend").replace("{id}", "1")


def change_settings(c):
    key = SETTINGS + "/{key}"
    c.make("PUT", SETTINGS, CHAT, {"suspend": 5}, headers={"If-Match": '"0"'})
    c.make("GET", "/admin/routes")
    c.make("GET", SETTINGS, CHAT)
    c.make("PUT", SETTINGS, CHAT, {"suspend": -1})
    c.make("PUT", SETTINGS, CHAT, b"x")
    c.make("PUT", SETTINGS, CHAT.replace("chat", "x"), {})
    c.make("PUT", SETTINGS, CHAT, {"suspend": 6}, headers={"If-Match": '"99"'})
    c.make("DELETE", key, CHAT + "/nothing")
    c.make("DELETE", key, CHAT + "/suspend", headers={"If-Match": '"99"'})
    c.make("DELETE", key, CHAT + "/suspend")
    c.make("PUT", SETTINGS, CHAT, {"suspend": 5})
    c.make("DELETE", SETTINGS, CHAT, headers={"If-Match": '"99"'})
    c.make("DELETE", SETTINGS, CHAT.replace("chat", "x"))
    c.make("DELETE", SETTINGS, CHAT)


def failover(c):
    path = "/admin/routes/{name}/failover"
    c.make("POST", path, "/admin/routes/chat/failover", {"enabled": False})
    c.make("POST", path, "/admin/routes/chat/failover", {"enabled": True}, headers={"If-Match": '"99"'})
    c.make("POST", path, "/admin/routes/chat/failover", {"enabled": 1})
    c.make("POST", path, "/admin/routes/x/failover", {"enabled": True})
    c.make("DELETE", SETTINGS, CHAT)


def loads(c, text):
    gw, activate = c.gw, "/admin/generations/{id}/activate"

    def load(text, status=200):
        gw.write("gateway.lua", text)
        assert c.make("POST", "/admin/reload", body={"why": "a test"}).status == status

    def go_to(generation, body=None):
        return c.make("POST", activate, f"/admin/generations/{generation}/activate", body).status
    first = c.make("GET", "/admin/generations").json()["active"]
    load(text)
    c.make("POST", "/admin/check", body={})
    load(text.replace('routes"] = {', plain_route("x = 1")))
    c.make("GET", "/admin/routes")
    assert c.make("POST", "/admin/routes/{name}/failover", "/admin/routes/plain/failover", {"enabled": True}).status == 422
    assert [go_to(first), go_to(99), go_to("x"), go_to(1, {"x": 1})] == [200, 404, 404, 400]
    # What the overlay makes up for is missed without it; a file that is gone is missed by an old generation.
    assert c.make("PUT", SETTINGS, PLAIN_SETTINGS, {"x": 2}).status == 404
    load(text.replace('routes"] = {', plain_route("x = 1")))
    assert c.make("PUT", SETTINGS, PLAIN_SETTINGS, {"x": 2}).status == 200
    load(text.replace('routes"] = {', plain_route("")).replace(KEY, '"a-key"'))
    assert c.make("DELETE", SETTINGS, PLAIN_SETTINGS).status == 422
    assert c.make("DELETE", SETTINGS + "/{key}", PLAIN_SETTINGS + "/x").status == 422
    (gw.folder / "note").unlink()
    assert go_to(first) == 422
    load("return {", 422)
    assert c.make("POST", "/admin/check").status == 422
    for path in ("/admin/reload", "/admin/check"):
        assert c.make("POST", path, body=b"{").status == 400
    assert c.make("GET", "/admin/generations").json()["last_refused"]["diagnostics"]
