# SPDX-License-Identifier: MIT
"""
The five use cases that the project exists for: each folder of examples/ runs as it stands against the pretend
providers, and each sentence of what it is for is proved here.
"""
import subprocess

import pytest
from support import actions, wire
from support.actions import hang_up
from support.compatible import SERVERS, OpenRouter
from support.folders import EXAMPLES, Example, Pretend, data, targets, text
from support.gateway import BINARY
from support.waiting import wait_until

USE_CASES = ["fallback-pairs", "throttled-to-mini", "ordered-backups", "switchable-models", "resilient-rotation"]


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    process = Pretend(tmp_path_factory.mktemp("pretend"))
    yield process
    process.stop()


@pytest.fixture
def pretend(provider):
    """The pretend providers, all of them well."""
    yield provider
    provider.mend()


@pytest.fixture
def example(lab, pretend, tmp_path):
    """example(name, VARIABLE=…) runs a folder in front of the pretend providers."""
    def start(name, **env):
        gateway = Example(tmp_path, name, PRETEND=pretend.url, MOONGATE_ADMIN_TOKEN="admin-token-of-the-tests", **env)
        lab.gateways.append(gateway)
        return gateway
    return start


# A target (model, endpoint) and any number of fallback pairs, separately for production and sandbox keys.

def test_pairs_fall_back_in_order(pretend, example):
    """Goal: the target answers; when it fails the pairs follow in order; the last failure is the client's answer."""
    gateway = example("fallback-pairs", SUSPEND="0")
    assert text(gateway.ask(key="app-secret")) == "Hello, this is main speaking as gpt-4o."
    pretend.fault("main", "status/500")
    assert targets(gateway.ask(key="app-secret")) == ["main/gpt-4o", "other/gpt-4o"]
    pretend.fault("other/gpt-4o", "status/500")
    answer = gateway.ask(key="app-secret")
    assert targets(answer) == ["main/gpt-4o", "other/gpt-4o", "other/gpt-4o-mini"]
    assert text(answer) == "Hello, this is other speaking as gpt-4o-mini."
    pretend.fault("other/gpt-4o-mini", "status/503")
    assert gateway.ask(key="app-secret").status == 503


def test_pairs_of_sandbox_keys(pretend, example):
    """Goal: a sandbox key has targets of its own and never touches the production one; no key, no answer."""
    gateway = example("fallback-pairs")
    calls = pretend.counter("main", "tiny")
    assert text(gateway.ask(key="dev-secret")) == "Hello, this is tiny speaking as llama3."
    pretend.fault("tiny", "status/500")
    assert targets(gateway.ask(key="dev-secret")) == ["tiny/llama3", "other/gpt-4o-mini"]
    assert calls() == {"main": 0, "tiny": 2}
    assert gateway.ask(key="wrong").status == 401


def test_pairs_request_timeout(pretend, example):
    """Goal: a pair that does not answer in time is given up for the next."""
    pretend.fault("main", "delay/60")
    answer = example("fallback-pairs", REQUEST_TIMEOUT="0.5").ask(key="app-secret")
    assert answer.elapsed >= 0.5
    assert answer.trail == [("main/gpt-4o", "timeout_total", 0), ("other/gpt-4o", "ok", 200)]


def test_pairs_suspend(pretend, example):
    """Goal: a failed pair is left alone for the suspend duration, then asked again; only the pair, not its provider."""
    pretend.fault("main", "status/500")
    pretend.fault("other/gpt-4o", "status/500")
    gateway = example("fallback-pairs", SUSPEND="2")
    assert len(gateway.ask(key="app-secret").trail) == 3
    assert targets(gateway.ask(key="app-secret")) == ["other/gpt-4o-mini"]
    pretend.fault("main", "")
    wait_until(lambda: targets(gateway.ask(key="app-secret")) == ["main/gpt-4o"], "main to be asked again")


def test_pairs_without_duration_remember_nothing(pretend, example):
    """Goal: with suspend 0 the failed pair is asked again by the very next request."""
    pretend.fault("main", "status/500")
    gateway = example("fallback-pairs", SUSPEND="0")
    for _ in range(3):
        assert targets(gateway.ask(key="app-secret")) == ["main/gpt-4o", "other/gpt-4o"]


# A throttled key on the big model moves traffic to a small model on another endpoint.

def test_throttled_moves_to_mini(pretend, example):
    """Goal: 429 leads to gpt-4o-mini elsewhere; for the suspend time the big one is not even asked, by streams either."""
    pretend.fault("big", "status/429")
    gateway = example("throttled-to-mini")
    calls = pretend.counter("big")
    answer = gateway.ask()
    assert text(answer) == "Hello, this is small speaking as gpt-4o-mini."
    assert answer.trail == [("big/gpt-4o", "rate_limited", 429), ("small/gpt-4o-mini", "ok", 200)]
    assert targets(gateway.ask()) == targets(gateway.ask(stream=True)) == ["small/gpt-4o-mini"]
    assert calls() == {"big": 1}


def test_throttled_needs_a_throttle(pretend, example):
    """Goal: other failures of the big model are not what this rule is about."""
    pretend.fault("big", "status/500")
    answer = example("throttled-to-mini").ask()
    assert (answer.status, targets(answer)) == (500, ["big/gpt-4o"])
    assert answer.header("x-should-retry") == "false"


def test_throttled_numbers():
    """Goal: timeout 30 and suspend 30, as asked for."""
    content = (EXAMPLES / "throttled-to-mini/gateway.lua").read_text()
    assert "request_timeout = 30" in content and "suspend = 30" in content


# Ordered backup services, model per entry or passed through.

def test_backups_models(pretend, example):
    """Goal: an entry with a model sends that model, one without passes the client's through."""
    gateway = example("ordered-backups")
    assert text(gateway.ask("my-model")) == "Hello, this is main speaking as my-model."
    pretend.fault("main", "status/500")
    assert text(gateway.ask("my-model")) == "Hello, this is second speaking as qwen-max."
    pretend.fault("second", "status/500")
    answer = gateway.ask("my-model")
    assert text(answer) == "Hello, this is third speaking as my-model."
    assert targets(answer) == ["main/my-model", "second/qwen-max", "third/my-model"]


@pytest.mark.parametrize("trigger, moving, staying", [
    ("any", ["status/400", "status/401", "status/404", "status/422", "status/429", "status/451", "status/500",
             "status/503"], []),
    ("backend", ["status/500", "status/503", "empty", "error-in-200"],
     ["status/400", "status/404", "status/429", "status/400/code/content_filter"]),
    ("limits", ["status/500", "status/429", "status/451", "status/400/code/content_filter"],
     ["status/400", "status/404"]),
])
def test_backups_triggers(pretend, example, trigger, moving, staying):
    """Goal: any 4xx or 5xx; backend errors only; or also when rate-limited or intercepted."""
    gateway = example("ordered-backups", TRIGGER=trigger)
    for fault in moving:
        pretend.fault("main", fault)
        answer = gateway.ask(stream=fault in ("empty", "error-in-200"))
        assert targets(answer) == ["main/gpt-4o", "second/qwen-max"], fault
    for fault in staying:
        pretend.fault("main", fault)
        answer = gateway.ask()
        assert (answer.status, targets(answer)) == (int(fault.split("/")[1]), ["main/gpt-4o"]), fault


def test_backups_first_packet_timeout(pretend, example):
    """Goal: a stream whose first content is late moves on; an answer that is no stream has no such clock."""
    pretend.fault("main", "delay/2.5")
    gateway = example("ordered-backups", FIRST_PACKET_TIMEOUT="1.5")
    answer = gateway.ask(stream=True)
    assert answer.trail == [("main/gpt-4o", "timeout_first_token", 0), ("second/qwen-max", "ok", 200)]
    assert targets(gateway.ask()) == ["main/gpt-4o"]


def test_backups_first_packet_timeout_off(pretend, example):
    """Goal: 0 switches the clock off."""
    pretend.fault("main", "delay/1")
    answer = example("ordered-backups", FIRST_PACKET_TIMEOUT="0").ask(stream=True)
    assert targets(answer) == ["main/gpt-4o"] and answer.elapsed >= 1


# An on/off switch, a list of models in order, a retry limit, all changeable on a running gateway.

def test_switchable_as_it_stands(pretend, example):
    """Goal: the models in order, each tried 1 + retries times, at most max_attempts in all."""
    gateway = example("switchable-models")
    assert text(gateway.ask("any")) == "Hello, this is pretend speaking as gpt-4o."
    pretend.fault("pretend/gpt-4o", "status/500")
    assert targets(gateway.ask()) == ["openai/gpt-4o", "openai/gpt-4o", "openai/gpt-4o-mini"]
    pretend.fault("pretend", "status/500")
    answer = gateway.ask()
    assert answer.status == 500
    assert targets(answer) == [f"openai/{m}" for m in ("gpt-4o", "gpt-4o-mini", "gpt-3.5-turbo") for _ in "12"]


def test_switchable_on_a_running_gateway(pretend, example):
    """Goal: list, limit and switch change by SIGHUP without a restart; a file that is wrong changes nothing."""
    gateway = example("switchable-models")
    pretend.fault("pretend", "status/500")
    assert len(gateway.ask().trail) == 6

    def change(old, new, expected):
        gateway.edit("gateway.lua", old, new)
        gateway.reload()
        wait_until(lambda: targets(gateway.ask()) == expected, f"{new!r} to take effect")

    large, mini = "openai/gpt-4o", "openai/gpt-4o-mini"
    change("max_attempts = 6", "max_attempts = 3", [large, large, mini])
    change("retries = 1", "retries = 0", [large, mini, "openai/gpt-3.5-turbo"])
    change('"openai/gpt-4o", "openai/gpt-4o-mini", "openai/gpt-3.5-turbo"', '"openai/gpt-4o-mini", "openai/gpt-4o"',
           [mini, large])
    change("enabled = true", "enabled = false", [mini])

    gateway.edit("gateway.lua", "enabled = false", "enabeld = true")
    gateway.reload(r"gateway\.lua:\d+.*enabeld")
    assert targets(gateway.ask()) == [mini]
    change("enabeld = true", "enabled = true", [mini, large])


# Several providers in rotation, health checks, ordered fallback, breaker, back-off, automatic recovery, rehearsal.

def firsts(gateway, n):
    """The providers that n requests went to first; each of them was answered."""
    answers = [gateway.ask() for _ in range(n)]
    assert {a.status for a in answers} == {200}
    return [targets(a)[0].split("/")[0] for a in answers]


def test_rotation_takes_turns(example):
    """Goal: requests start at the providers in turn."""
    order = firsts(example("resilient-rotation"), 6)
    assert sorted(order[:3]) == ["alpha", "beta", "gamma"] and order[3:] == order[:3]


def test_rotation_falls_back_in_order(pretend, example):
    """Goal: when a provider fails, one retry after a back-off, then the next one of the list answers."""
    pretend.fault("alpha", "status/500")
    gateway = example("resilient-rotation")
    answers = [gateway.ask() for _ in range(3)]
    assert [a.status for a in answers] == [200] * 3
    assert ["alpha/gpt-4o", "alpha/gpt-4o", "beta/gpt-4o"] in [targets(a) for a in answers]


def test_rotation_breaker_opens_and_recovers(pretend, example):
    """Goal: after 3 failed requests a target gets nothing until it had time to recover; then it is taken back."""
    pretend.fault("alpha/gpt-4o", "status/500")  # its list of models stays well, so that probes see nothing
    gateway = example("resilient-rotation", RECOVERY="5")
    calls = pretend.counter("alpha")
    wait_until(lambda: firsts(gateway, 1) and calls()["alpha"] >= 6, "the breaker to open")
    assert "alpha" not in firsts(gateway, 6)
    assert calls()["alpha"] == 6  # 3 requests with one retry each
    pretend.fault("alpha/gpt-4o", "")
    wait_until(lambda: firsts(gateway, 1) == ["alpha"], "alpha to be back")


def test_rotation_health_checks(pretend, example):
    """Goal: a provider that fails its probes (GET /models) is out before it costs a request, and is back by itself."""
    pretend.fault("beta", "status/503")
    gateway = example("resilient-rotation", HEALTH_INTERVAL="0.2")
    calls = pretend.counter("beta")
    gateway.wait_log("provider beta is down")
    assert "beta" not in firsts(gateway, 6) and calls() == {"beta": 0}
    pretend.fault("beta", "")
    gateway.wait_log("provider beta is up")
    assert "beta" in firsts(gateway, 3)


def test_rotation_rehearsal(pretend, example):
    """Goal: naming a provider in outage.txt takes it out without touching it; no request fails; undoing it ends it."""
    gateway = example("resilient-rotation", HEALTH_INTERVAL="0.2")
    assert set(firsts(gateway, 3)) == {"alpha", "beta", "gamma"}
    gateway.write("outage.txt", "gamma\n")
    gateway.reload()
    wait_until(lambda: firsts(gateway, 1) and "provider gamma is down" in gateway.stderr, "the outage to be noticed")
    calls = pretend.counter("gamma")
    assert "gamma" not in firsts(gateway, 6) and calls() == {"gamma": 0}
    gateway.write("outage.txt", "none\n")
    gateway.reload()
    wait_until(lambda: "gamma" in firsts(gateway, 3), "gamma to be back")


def test_rotation_numbers():
    """Goal: probes of /models with 2 s, 3 failures, 60 s recovery, as asked for."""
    content = (EXAMPLES / "resilient-rotation/gateway.lua").read_text()
    assert 'path = "/models"' in content and "timeout = 2," in content
    assert "failures = 3" in content and 'env("RECOVERY", "60")' in content


# A provider with several keys, and names for models. Beside the five.

def test_keys_stand_in_for_each_other(pretend, example):
    """Goal: a refused or limited key costs the request nothing; when both are out the other provider is asked."""
    gateway = example("key-pool", SUSPEND="0")
    pretend.fault("main#sk-pretend-team", "status/401")
    answer = gateway.ask("gpt-4o")
    assert answer.trail == [("main/gpt-4o", "credential_error", 401), ("main/gpt-4o", "ok", 200)]
    assert [a["api_key"] for a in gateway.entry(answer)["attempts"]] == ["team", "spare"]
    pretend.fault("main#sk-pretend-spare", "status/429")
    assert targets(gateway.ask("gpt-4o")) == ["main/gpt-4o", "main/gpt-4o", "other/gpt-4o"]


def test_keys_are_left_alone(pretend, example):
    """Goal: for as long as it says itself."""
    gateway = example("key-pool")
    pretend.fault("main#sk-pretend-team", "retry-after/3600")
    gateway.ask("gpt-4o")
    assert targets(gateway.ask("gpt-4o")) == ["main/gpt-4o"]
    assert gateway.facts("main#team")["suspended_for"] > 3000 and gateway.facts("main#spare")["suspended_for"] == 0


def test_names_of_ones_own(example):
    """Goal: fast and smart are served by their targets, gpt-4o* as it is, nothing else."""
    gateway = example("key-pool")
    assert text(gateway.ask("fast")) == "Hello, this is main speaking as gpt-4o-mini."
    assert text(gateway.ask("smart")) == "Hello, this is main speaking as gpt-4.1."
    assert text(gateway.ask("gpt-4o")) == "Hello, this is main speaking as gpt-4o."
    assert gateway.ask("gpt-4.1").status == 404


# All of them.

@pytest.mark.parametrize("name", USE_CASES)
def test_settings_only(name):
    """Goal: each has its README, and needs no Lua beyond settings of the stock policy."""
    folder = EXAMPLES / name
    assert (folder / "README.md").is_file() and not (folder / "policies").exists()
    assert 'policy = "failover"' in (folder / "gateway.lua").read_text()


@pytest.mark.parametrize("name", USE_CASES)
def test_streams(name, example):
    """Goal: every use case serves a complete stream from its first target."""
    answer = example(name).ask(stream=True, key="app-secret")
    assert answer.status == 200 and data(answer)[-1] == "[DONE]" and answer.clean


# Servers that speak as OpenAI does.

@pytest.fixture
def compatible(lab, tmp_path):
    """compatible(first): the example with `first` as the only target that answers; its server's replies can be set."""
    def start(name):
        server = lab.upstream(SERVERS[name].whole)
        nobody = lab.upstream(hang_up())
        urls = {f"{other.upper()}_URL": (server if other == name else nobody).base_url for other in SERVERS}
        gateway = Example(tmp_path, "openai-compatible", **urls)
        lab.gateways.append(gateway)
        return gateway, server
    return start


@pytest.mark.parametrize("name", SERVERS)
def test_compatible(compatible, name):
    """Goal: each server's whole answers, streams and errors are understood; bytes pass; the model has its name there."""
    gateway, server = compatible(name)
    shape = SERVERS[name]
    answer = gateway.ask(store=True, max_tokens=5)
    assert (text(answer), answer.trail[-1][0]) == ("Hello.", f"{name}/{shape.model}")
    sent = server.requests[-1].json()
    assert sent["model"] == shape.model and sent["max_tokens"] == 5
    assert ("store" in sent) == (name != "mistral")
    server.script(shape.stream)
    answer = gateway.ask(stream=True)
    assert text(answer) == "Hello." and data(answer)[-1] == "[DONE]" and answer.clean
    usage = gateway.entry(answer).get("usage")
    assert name == "ollama" or (usage["input"], usage["output"]) == (9, 4), usage
    server.script(shape.error)
    trail = gateway.ask(stream=name == "openrouter").trail
    assert [outcome for target, outcome, _ in trail if target.startswith(name)][-1] == shape.outcome, trail


def test_compatible_error_in_choices(compatible):
    """Goal: an error that OpenRouter puts beside the choices of a stream, before any word, moves the request on."""
    gateway, server = compatible("openrouter")
    server.script(OpenRouter.broken)
    trail = gateway.ask(stream=True).trail
    assert ("openrouter/qwen/qwen3-8b", "error_event", 200) in trail


# A provider of a dialect that stands beside gateway.lua.

COHERE = {"id": "c1", "finish_reason": "COMPLETE", "usage": {"tokens": {"input_tokens": 7, "output_tokens": 3}},
          "message": {"role": "assistant", "content": [{"type": "text", "text": "Hei fra Cohere."}]}}
COHERE_STREAM = [
    {"type": "message-start", "id": "c1", "delta": {"message": {"role": "assistant"}}},
    {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hei fra "}}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Cohere."}}}},
    {"type": "content-end", "index": 0},
    {"type": "message-end", "delta": {"finish_reason": "COMPLETE",
                                      "usage": {"tokens": {"input_tokens": 7, "output_tokens": 3}}}},
]


@pytest.fixture
def own_dialect(lab, tmp_path):
    """The folder in front of an OpenAI that is down and a Cohere: the gateway, and both."""
    openai, cohere = lab.upstream(actions.fail(503)), lab.upstream(actions.answer(value=COHERE))
    gateway = Example(tmp_path, "own-dialect", OPENAI_URL=openai.base_url, COHERE_URL=f"http://{cohere.address}/v2")
    lab.gateways.append(gateway)
    return gateway, openai, cohere


def test_own_dialect_answers(own_dialect):
    """Goal: what OpenAI cannot answer is asked in Cohere's words, and told in OpenAI's."""
    gateway, _, cohere = own_dialect
    answer = gateway.ask(max_tokens=9, top_p=0.5, stop=["END"], parallel_tool_calls=False)
    assert targets(answer) == ["openai/gpt-4o", "cohere/command-a-03-2025"]
    assert text(answer) == "Hei fra Cohere." and answer.json()["usage"]["total_tokens"] == 10
    assert answer.header("x-moongate-dropped") == "parallel_tool_calls"
    asked = cohere.requests[0]
    assert (asked.path, asked.json()["model"]) == ("/v2/chat", "command-a-03-2025")
    assert (asked.json()["p"], asked.json()["max_tokens"], asked.json()["stop_sequences"]) == (0.5, 9, ["END"])


def test_own_dialect_streams(own_dialect):
    """Goal: Cohere's events are a chat completion's, to the end."""
    gateway, _, cohere = own_dialect
    cohere.script(actions.stream(*[b"event: %s\ndata: %s\n\n" % (event["type"].encode(), wire.dumps(event))
                                   for event in COHERE_STREAM]))
    answer = gateway.ask(stream=True)
    assert text(answer) == "Hei fra Cohere." and data(answer)[-1] == "[DONE]" and answer.clean


def test_own_dialect_errors(own_dialect):
    """Goal: its errors are told in the client's dialect; a refused one by its status."""
    gateway, _, cohere = own_dialect
    cohere.script(actions.answer(429, {"message": "You are past the limit"}))
    answer = gateway.ask()
    assert [outcome for _, outcome, _ in answer.trail] == ["server_error", "rate_limited"]
    assert answer.status == 429 and answer.json()["error"]["message"]


def test_own_dialect_conforms():
    """Goal: the file is held to the conformance kit by its own test, and is a worked example under 150 lines."""
    folder = EXAMPLES / "own-dialect"
    result = subprocess.run([str(BINARY), "test", str(folder)], capture_output=True, text=True)
    assert result.returncode == 0 and " 0 failed" in result.stdout, result.stdout + result.stderr
    assert len((folder / "lua/dialects/cohere.lua").read_text().splitlines()) < 150
