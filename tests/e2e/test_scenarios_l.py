# SPDX-License-Identifier: MIT
"""SCENARIOS.tsv, group L: credentials. What a provider sees of the client's, and a client of the provider's."""
import json

import pytest
from support import actions, wire
from support.gateway import ROOT

CLIENTS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
PRESENT = [d for d in CLIENTS if (ROOT / f"lua/dialects/{d}.lua").exists()]
POOL = {"api_key": None, "api_keys": [{"name": "a", "secret": "sk-pool-key-one"}, {"name": "b", "secret": "sk-pool-key-two"}]}


@pytest.fixture(params=PRESENT)
def dialect(request):
    return request.param


def gateway(lab, up, dialect, **options):
    return lab.failover({"p": up}, {"targets": ["p/m"]}, {"dialect": dialect, **options})


def ask(gw, dialect, headers=(), query=""):
    return gw.chat(target=CLIENTS[dialect] + query, headers=headers, max_tokens=10)


@pytest.mark.parametrize("keys", [{"api_key": "sk-provider-p"}, POOL], ids=["one", "pool"])
def test_L03_credential_in_the_query(lab, dialect, keys):
    """Goal: the provider sees the configured key and nothing of what the client wrote there, however it wrote it."""
    up = lab.upstream(actions.ok())
    gw = gateway(lab, up, dialect, auth="query:key", **keys)
    ask(gw, dialect, query="?key=client-1&a=b&%6bey=client-2&k%65y=client-3")
    secret = keys["api_key"] or "sk-pool-key-one"
    assert up.requests[0].target.partition("?")[2] == f"a=b&key={secret}"
    assert b"client-" not in up.requests[0].raw_head


@pytest.mark.parametrize("keys", [{"api_key": "sk-provider-p"}, POOL], ids=["one", "pool"])
def test_L04_client_credentials_stay_here(lab, dialect, keys):
    """Goal: the provider sees the configured credential only."""
    up = lab.upstream(actions.ok())
    gw = gateway(lab, up, dialect, **keys)
    ask(gw, dialect, {"Authorization": "Bearer client-1", "x-api-key": "client-2", "Cookie": "client-3",
                      "Proxy-Authorization": "Basic client-4", "x-goog-api-key": "client-5", "api-key": "client-6"})
    head = up.requests[0].raw_head
    assert b"client-" not in head
    assert head.count((keys["api_key"] or "sk-pool-key-one").encode()) == 1


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("keys", [{"api_key": "sk-provider-p"}, POOL], ids=["one", "pool"])
def test_L08_a_key_that_is_echoed(lab, dialect, keys, status):
    """Goal: nobody sees the key that a provider repeats, in whatever part of its error, and 401 is never passed on."""
    def echo(call):
        sent = call.request.header("authorization") or call.request.header("x-api-key")
        error = wire.error_body(f"Incorrect API key provided: {sent}.", code="invalid_api_key")
        actions.answer(status, error, headers={"X-Debug": sent})(call)
    gw = gateway(lab, lab.upstream(echo), dialect, **keys)
    answer = ask(gw, dialect)
    assert answer.status in (400, 502)
    seen = bytes(answer.body).decode() + str(answer.headers) + json.dumps(gw.entry(answer)) + gw.stderr
    assert "sk-provider" not in seen and "sk-pool" not in seen
