# SPDX-License-Identifier: MIT
"""
Gateways on the folders of examples/: each runs on a copy of its folder, as it stands, its addresses and
providers set through the variables that the folder's gateway.lua reads.
"""
import json
import shutil

from . import client, gateway

EXAMPLES = gateway.ROOT / "examples"


def targets(response):
    """The targets of the attempts, in order."""
    return [target for target, _, _ in response.trail]


def data(response):
    """The data of all events of a stream that was read to its end."""
    return [line[6:] for line in response.body.decode().splitlines() if line.startswith("data: ")]


def text(response):
    """The assistant's words, of a plain answer or of a stream."""
    if not response.header("content-type").startswith("text/event-stream"):
        return response.text
    return "".join(choice.get("delta", {}).get("content") or ""
                   for event in data(response) if event != "[DONE]"
                   for choice in json.loads(event).get("choices", []))


class Example(gateway.Gateway):
    """examples/NAME, copied into `scratch` and started with the variables of env."""

    def __init__(self, scratch, name, **env):
        folder = scratch / name
        shutil.copytree(EXAMPLES / name, folder)
        env = {"LISTEN": "127.0.0.1:0", "ADMIN_LISTEN": "127.0.0.1:0", **env}
        super().__init__(folder, (folder / "gateway.lua").read_text(), env=env)

    @property
    def url(self):
        return f"http://{self.address}"

    def call(self, method, target, body=None, headers=()):
        return client.call(self.address, method, target, headers, body)

    def ask(self, model="gpt-4o", stream=False, key=None, prefix="", **fields):
        """One chat completion, read to its end."""
        headers = [("Authorization", f"Bearer {key}")] if key else []
        return client.call(self.address, "POST", f"{prefix}/v1/chat/completions", headers,
                           client.chat_body(stream, model, **fields))

    def edit(self, name, old, new):
        content = (self.folder / name).read_text()
        assert old in content, f"no {old!r} in {name}"
        self.write(name, content.replace(old, new))


class Pretend(Example):
    """examples/pretend-providers, whose faults can be switched. `mend` ends all that were."""

    def __init__(self, scratch, **env):
        super().__init__(scratch, "pretend-providers", **env)
        self._touched = set()

    def fault(self, provider, fault):
        """Gives a provider (or "provider/model") its fault; "" mends it."""
        self._touched.add(provider)
        answer = self.call("POST", "/pretend/fault", {"provider": provider, "fault": fault})
        assert answer.status == 200, answer.body

    def mend(self):
        for provider in self._touched:
            self.fault(provider, "")

    def calls(self, provider):
        return self.call("GET", f"/pretend/calls/{provider}").json()["calls"]

    def counter(self, *providers):
        """A function that tells how many calls each provider has got since now."""
        before = {p: self.calls(p) for p in providers}
        return lambda: {p: self.calls(p) - before[p] for p in providers}
