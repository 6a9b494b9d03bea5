# SPDX-License-Identifier: MIT
"""The admin listener's answers, and reloads as far as other tests leave them open."""
import re

from support import actions
from support.client import call
from support.gateway import ADMIN_TOKEN
from support.waiting import wait_until


def replace(gw, old, new):
    text = (gw.folder / "gateway.lua").read_text()
    assert old in text
    gw.write("gateway.lua", text.replace(old, new))


def test_shapes(lab):
    """Goal: the documented fields; methods and schemes are those of HTTP; metrics tell no key."""
    gw = lab.failover({"p": lab.upstream(actions.ok())})
    gw.chat()
    assert {"target", "provider", "model", "up", "suspended_for", "reason", "breaker", "inflight"} <= set(gw.facts("p/p-model"))
    assert call(gw.admin, "HEAD", "/healthz").status == 200
    assert call(gw.admin, "POST", "/admin/status", {"Authorization": f"Bearer {ADMIN_TOKEN}"}).status in (404, 405)
    assert call(gw.admin, "GET", "/admin/status", {"Authorization": f"bearer {ADMIN_TOKEN}"}).status == 200
    assert call(gw.admin, "GET", "/admin/status", {"Authorization": f"Basic {ADMIN_TOKEN}"}).status == 401
    metrics = call(gw.admin, "GET", "/metrics")
    assert metrics.header("content-type").startswith("text/plain") and b"sk-provider" not in metrics.body


def test_models_that_clients_choose(lab):
    """Goal: clients who ask for ever more models make no more series: those beyond the first are one, and none is lost."""
    upstream = lab.upstream(actions.ok())
    gw = lab.policy({"p": upstream}, "return req:send(req.model == 'mine' and 'p/set' or 'p')")
    total = 80
    for i in range(total):
        assert gw.chat(model=f"model-{i}").status == 200
    assert gw.chat(model="mine").trail[0][0] == "p/set"
    text = call(gw.admin, "GET", "/metrics").body.decode()
    attempts = dict(re.findall(r'moongate_attempts_total\{target="([^"]*)",outcome="ok"[^}]*\} (\d+)', text))
    assert attempts.pop("p/set") == "1" and len(attempts) == 65, sorted(attempts)
    assert int(attempts["p/other"]) == total - 64 and attempts["p/model-0"] == "1"
    models = set(re.findall(r'gen_ai_request_model="([^"]*)"', text))
    assert len(models) == 66 and {"other", "set", "model-0"} <= models
    assert text.count("moongate_target_inflight{") == 66 and 'moongate_target_inflight{target="p/other"} 0' in text


def test_broken_reload_keeps_it_ready(lab):
    """Goal: a file with a mistake leaves traffic and readiness as they were; the log names the line."""
    gw = lab.failover({"p": lab.upstream(actions.ok())})
    gw.write("gateway.lua", "return {\n listen=\n}")
    gw.reload(r"gateway\.lua:3")
    assert gw.chat().status == 200 and call(gw.admin, "GET", "/readyz").status == 200


def test_missing_file(lab):
    """Goal: a reload without its file is refused."""
    gw = lab.failover({"p": lab.upstream(actions.ok())})
    (gw.folder / "gateway.lua").rename(gw.folder / "away")
    assert "refused" in gw.reload("refused") and gw.chat().status == 200


def test_endless_policy(lab):
    """Goal: a policy that never ends while it is loaded is refused, and the one in force goes on."""
    gw = lab.policy({"p": lab.upstream(actions.ok())}, "return req:send('p/x')")
    gw.write("policies/own.lua", "while true do end")
    gw.reload(r"own\.lua")
    answer = gw.chat()
    assert answer.trail == [("p/x", "ok", 200)] and gw.entry(answer)["generation"] == 1


def test_file_that_a_policy_requires(lab):
    """Goal: a change in a module alone is a change."""
    gw = lab.policy({"p": lab.upstream(actions.ok())}, "return req:send('p/' .. (require 'mymod').m)", modules={"mymod": "return { m = 'one' }"})
    assert gw.chat().trail[0][0] == "p/one"
    gw.write("lua/mymod.lua", "return { m = 'two' }")
    gw.reload("generation 2")
    assert gw.chat().trail[0][0] == "p/two"


def test_client_keys_change(lab):
    """Goal: a key that a reload took away is refused, the new one is good."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"keys": [{"name": "a", "secret": "client-secret-a"}]})
    replace(gw, "client-secret-a", "client-secret-b")
    gw.reload("generation 2")
    assert [gw.chat(headers={"x-api-key": f"client-secret-{k}"}).status for k in "ab"] == [401, 200]


def test_probes_end_with_their_provider(lab):
    """Goal: a reload that takes health checks away ends the probes."""
    p, q = lab.upstream(actions.ok()), lab.upstream(actions.ok())
    p.on("/v1/models", actions.ok())
    q.on("/v1/models", actions.ok())
    p.options = {"health": {"interval": 0.1}}
    q.options = {"health": {"interval": 0.13}}
    gw = lab.failover({"p": p, "q": q})
    wait_until(lambda: p.calls_to("/v1/models"))
    text = (gw.folder / "gateway.lua").read_text()
    gw.write("gateway.lua", re.sub(r'\["health"\] = \{\s*\["interval"\] = 0\.1,\s*\},', "", text))
    gw.reload("generation 2")
    before, seen = len(p.calls_to("/v1/models")), len(q.calls_to("/v1/models"))
    wait_until(lambda: len(q.calls_to("/v1/models")) >= seen + 4)
    assert len(p.calls_to("/v1/models")) <= before + 1, "one may have been under way"


def test_suspension_outlives_its_target(lab):
    """Goal: a target that a reload takes away and another brings back is still suspended."""
    gw = lab.failover({"p": lab.upstream(actions.fail(500)), "q": lab.upstream(actions.ok())}, {"suspend": 600})
    gw.chat()
    replace(gw, '"p/p-model"', '"q/zz"')
    gw.reload("generation 2")
    assert gw.chat().trail[0][0] == "q/zz"
    replace(gw, '"q/zz"', '"p/p-model"')
    gw.reload("generation [13]")
    assert gw.chat().trail == [("q/q-model", "ok", 200)]
