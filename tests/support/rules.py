# SPDX-License-Identifier: MIT
"""
Changing the rules of a running gateway: its admin API, its commands and its audit log as the tests use them.
"""
import json
import os
import subprocess

from . import client
from .gateway import ADMIN_TOKEN

READ_TOKEN = "read-token-of-the-tests"
ADMIN = {"listen": "127.0.0.1:0", "token": ADMIN_TOKEN, "read_token": READ_TOKEN}


class Rules:
    """The admin API of a gateway, which may be started again meanwhile."""

    def __init__(self, gateway, token=ADMIN_TOKEN):
        self.gateway, self.token = gateway, token

    def call(self, method, path, body=None, headers=(), token=None):
        """One call; what is under /admin/ has to answer in JSON, also when it refuses."""
        token = self.token if token is None else token
        fields = dict(headers)
        if token:
            fields["Authorization"] = f"Bearer {token}"
        answer = client.call(self.gateway.admin, method, path, fields, body)
        assert answer.clean and (answer.header("content-type") or "").startswith("application/json"), (answer.headers, answer.body)
        answer.json()
        return answer

    def get(self, path):
        answer = self.call("GET", path)
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer.json()

    # Loads.

    def reload(self, why=None):
        """POST /admin/reload: the answer's status and value."""
        answer = self.call("POST", "/admin/reload", {"why": why} if why else None)
        return answer.status, answer.json()

    def apply(self, why=None):
        """A reload that has to bring a new generation; returns its number."""
        status, value = self.reload(why)
        assert status == 200 and value["ok"] is True and value["changed"] is True, (status, value)
        return value["active"]

    def refused(self):
        """A reload that has to be refused; returns its diagnostics, which have to be whole."""
        status, value = self.reload()
        assert status == 422, (status, value)
        return check_refusal(value)

    @property
    def active(self):
        return self.get("/admin/generations")["active"]

    def generations(self):
        """{id: generation}"""
        return {g["id"]: g for g in self.get("/admin/generations")["generations"]}

    def activate(self, generation):
        return self.call("POST", f"/admin/generations/{generation}/activate")

    # Settings.

    def settings(self, route="chat"):
        return self.get(f"/admin/routes/{route}/settings")

    def etag(self, route="chat"):
        return self.call("GET", f"/admin/routes/{route}/settings").header("etag")

    def put(self, settings, route="chat", if_match=None, headers=(), token=None):
        fields = {**dict(headers), **({"If-Match": if_match} if if_match is not None else {})}
        return self.call("PUT", f"/admin/routes/{route}/settings", settings, fields, token)

    def set(self, settings, route="chat"):
        """A PUT that has to be applied."""
        answer = self.put(settings, route)
        assert answer.status == 200 and answer.json()["ok"] is True, (answer.status, answer.body)
        return answer.json()

    # What is left in writing.

    def audit_text(self):
        path = self.gateway.folder / "state" / "audit.log"
        return path.read_text() if path.exists() else ""

    def audit(self):
        """All records of the audit log; each line has to be a whole JSON object."""
        text = self.audit_text()
        assert text == "" or text.endswith("\n"), text[-200:]
        records = [json.loads(line) for line in text.splitlines()]
        assert all(isinstance(r, dict) for r in records)
        return records


def check_refusal(value):
    """The value of a 422; returns its diagnostics."""
    assert value["ok"] is False and isinstance(value["active"], int), value
    assert value["diagnostics"], value
    for d in value["diagnostics"]:
        assert isinstance(d["file"], str) and isinstance(d.get("line"), (int, type(None))) and d["message"], value
    return value["diagnostics"]


def command(gateway, *args, token=ADMIN_TOKEN, admin=None, env=None, timeout=60):
    """`moongate ARGS` against the gateway's admin listener; returns the completed process."""
    variables = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "MOONGATE_ADMIN": admin or f"http://{gateway.admin}",
                 **({"MOONGATE_ADMIN_TOKEN": token} if token else {}), **(env or {})}
    return subprocess.run([str(gateway.binary), *map(str, args)], env=variables, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=timeout, cwd=gateway.folder)
