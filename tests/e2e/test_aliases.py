# SPDX-License-Identifier: MIT
"""Public names of models: routes[].models with targets of their own, and what GET /v1/models says of them."""
from conftest import provider_config
from support import actions
from support.client import assert_openai_error, call

MODELS = {"fast": ["p/small", "q/small"], "smart/best": "q/big"}


def gateway(lab, models=MODELS, settings=None, **more):
    p, q = lab.upstream(actions.echo()), lab.upstream(actions.echo())
    route = {"name": "chat", "path": "/v1/*", "policy": "failover", "models": models, "settings": settings or {}}
    gw = lab.gateway({**provider_config({"p": p, "q": q}), "routes": [route], **more}).start()
    return gw, p, q


def get(gw, path, headers=()):
    return call(gw.address, "GET", path, headers)


def test_served_by_their_targets(lab):
    """Goal: body, log and metrics name what each of them should."""
    gw, p, q = gateway(lab)
    answer = gw.chat(model="fast")
    assert answer.status == 200 and p.requests[0].json()["model"] == "small"
    entry = gw.entry(answer)
    assert (entry["model"], entry["target"], entry["served_model"]) == ("fast", "p/small", "small")
    assert gw.chat(model="smart/best").status == 200 and q.requests[0].json()["model"] == "big"
    assert_openai_error(gw.chat(model="small"), 404, "model_not_found")


def test_overlaid_targets_leave_them_alone(lab):
    """Goal: what an admin puts over `targets` is for the others; all other settings are for all."""
    gw, p, q = gateway(lab, {**MODELS, 1: "gpt*"}, {"targets": ["p/usual"]})
    assert gw.api("PUT", "/admin/routes/chat/settings", {"targets": ["q/other"]}).status == 200
    assert gw.chat(model="fast").status == 200 and gw.chat(model="gpt-4o").status == 200
    assert [p.requests[0].json()["model"], q.requests[0].json()["model"]] == ["small", "other"]
    route = gw.admin_get("/admin/routes/chat").json()
    assert route["aliases"] == {"fast": ["p/small", "q/small"], "smart/best": ["q/big"]}
    assert route["settings"]["targets"]["value"] == ["q/other"] and route["models"] == ["gpt*"]


def test_targets_are_known_to_admins(lab):
    """Goal: before anybody asked."""
    gw, _, _ = gateway(lab)
    assert {"p/small", "q/small", "q/big"} <= set(gw.targets())


def test_list_and_one(lab):
    """Goal: public names and nothing behind them; one by its name, also with a slash in it; 404 for others."""
    gw, p, q = gateway(lab)
    listed = get(gw, "/v1/models").json()
    assert [m["id"] for m in listed["data"]] == ["fast", "smart/best"]
    assert get(gw, "/v1/models/fast").json() == listed["data"][0]
    assert get(gw, "/v1/models/smart/best").json()["id"] == "smart/best"
    assert get(gw, "/v1/models/smart%2Fbest").json()["id"] == "smart/best"
    for path in ("/v1/models/small", "/v1/models/", "/v1/models/fast%00", "/v1/models/" + "x" * 4000):
        assert_openai_error(get(gw, path), 404)
    assert p.count == q.count == 0


def test_a_key_sees_its_own(lab):
    """Goal: a client's key sees and asks for the public names it is limited to."""
    gw, _, _ = gateway(lab, keys=[{"name": "k", "secret": "client-key", "models": ["fa*"]}])
    key = {"Authorization": "Bearer client-key"}
    assert [m["id"] for m in get(gw, "/v1/models", key).json()["data"]] == ["fast"]
    assert get(gw, "/v1/models/smart/best", key).status == 404
    assert gw.chat(model="fast", headers=key).status == 200
    assert gw.chat(model="smart/best", headers=key).status == 403


def test_list_and_one_for_anthropic(lab):
    """Goal: told by its header, in its shape, errors too."""
    gw, _, _ = gateway(lab)
    header = {"anthropic-version": "2023-06-01"}
    listed = get(gw, "/v1/models", header).json()
    assert [m["id"] for m in listed["data"]] == ["fast", "smart/best"]
    assert listed["data"][0]["type"] == "model" and listed["has_more"] is False
    assert (listed["first_id"], listed["last_id"]) == ("fast", "smart/best")
    assert get(gw, "/v1/models/fast", header).json() == listed["data"][0]
    missing = get(gw, "/v1/models/none", header)
    assert missing.status == 404
    assert missing.json()["type"] == "error" and missing.json()["error"]["type"] == "not_found_error"


def test_list_and_one_for_gemini(lab):
    """Goal: at its own path, in its shape, errors too."""
    gw, _, _ = gateway(lab)
    listed = get(gw, "/v1beta/models").json()
    assert [m["name"] for m in listed["models"]] == ["models/fast", "models/smart/best"]
    assert get(gw, "/v1beta/models/fast").json() == listed["models"][0]
    missing = get(gw, "/v1beta/models/none")
    assert missing.status == 404 and missing.json()["error"]["status"] == "NOT_FOUND"
