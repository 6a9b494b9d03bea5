# SPDX-License-Identifier: MIT
"""The fixtures of the end-to-end tests: `lab` makes providers and gateways and puts them away."""
import pytest

from support.client import close_all
from support.gateway import Gateway
from support.upstream import BlackHole, Refusing, Upstream


class Lab:
    def __init__(self, folder):
        self._folder = folder
        self.upstreams = []
        self.gateways = []

    def upstream(self, *script, **options):
        return self.keep(Upstream(*script, **options))

    def refusing(self):
        return self.keep(Refusing())

    def black_hole(self):
        return self.keep(BlackHole())

    def keep(self, upstream):
        self.upstreams.append(upstream)
        return upstream

    def gateway(self, config, **options):
        gateway = Gateway(self._folder / f"gateway{len(self.gateways) + 1}", config, start=False, **options)
        self.gateways.append(gateway)
        return gateway

    def failover(self, providers, settings=None, options=None, policy="failover", start=True, route=None,
                 config=None, **more):
        """
        A gateway over providers = {name: upstream}, one route for everything under /v1/. Targets are all of
        them, each with model "NAME-model", unless the settings name others. options: fields for every provider.
        """
        settings = dict(settings or {})
        settings.setdefault("targets", [f"{name}/{name}-model" for name in providers])
        gateway = self.gateway({**provider_config(providers, options), **(config or {}), "routes": [
            {"name": "chat", "path": "/v1/*", "policy": policy, "settings": settings, **(route or {})}]}, **more)
        return gateway.start() if start else gateway

    def policy(self, providers, text, settings=None, **more):
        """A gateway whose only route is answered by the policy with this text."""
        names = [f"{name}/{name}-model" for name in providers]
        body = text if "handle = " in text else wrap(text)
        policies = {"own": body, **more.pop("policies", {})}
        return self.failover(providers, {"targets": names} if settings is None else settings,
                             policy="own", policies=policies, **more)

    def close(self):
        """Clients go first, then providers; gateways that hold nothing of them any more are stopped."""
        problems = []
        close_all()
        steps = [upstream.stop for upstream in self.upstreams]
        steps += [gateway.check_counts for gateway in self.gateways] + [gateway.stop for gateway in self.gateways]
        for step in steps:
            try:
                step()
            except AssertionError as problem:
                problems.append(str(problem))
        assert not problems, "\n".join(problems)


def provider_config(providers, options=None):
    return {"providers": {
        name: {"dialect": "openai", "base_url": up.base_url, "api_key": f"sk-provider-{name}",
               **(options or {}), **getattr(up, "options", {})}
        for name, up in providers.items()}}


def wrap(body):
    """The body of a handler as a whole policy file; `body` starts on line 6."""
    return ("local moongate = require \"moongate\"\nlocal failover = require \"moongate.failover\"\nreturn {\n"
            "  name = \"own\", version = 1, settings = failover.settings,\n"
            "  handle = function(req, settings)\n" + body.strip("\n") + "\n  end,\n}\n")


@pytest.fixture
def lab(tmp_path, request):
    made = Lab(tmp_path)
    request.node.lab = made
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory):
    """A lab for all tests of a file."""
    made = Lab(tmp_path_factory.mktemp("shared"))
    yield made
    made.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    if report.failed:
        for gateway in getattr(getattr(item, "lab", None), "gateways", []):
            report.sections.append((f"log of {gateway.folder.name}", gateway.stderr.split("Shadow bytes")[0][-6000:]))
