# SPDX-License-Identifier: MIT
"""What providers say when they refuse, each in its own dialect, as outcomes, and as the errors of clients of every dialect."""
import pytest
from conftest import provider_config
from support import actions
from support.client import call
from support.speech import DIALECTS, Pair


def openai(message, type_=None, code=None):
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


def anthropic(type_, message):
    return {"type": "error", "error": {"type": type_, "message": message}, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}


def gemini(code, status, message, *details):
    return {"error": {"code": code, "message": message, "status": status, **({"details": list(details)} if details else {})}}


def info(reason):
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"}}


DAY = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{
    "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests", "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
    "quotaValue": "50"}]}
MINUTE = {**DAY, "violations": [{**DAY["violations"][0], "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]}
ROWS = [
    ("openai", "credential_error", 401, openai("Incorrect API key provided: sk-x. You can find your API key at https://platform.openai.com/account/api-keys.",
                                               "invalid_request_error", "invalid_api_key")),
    ("openai", "quota_exhausted", 429, openai("You exceeded your current quota, please check your plan and billing details.", "insufficient_quota",
                                              "insufficient_quota")),
    ("openai", "rate_limited", 429, openai("Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000.",
                                           "tokens", "rate_limit_exceeded")),
    ("openai", "context_too_long", 400, openai("This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens.",
                                               "invalid_request_error", "context_length_exceeded")),
    ("openai", "model_unavailable", 404, openai("The model `gpt-9` does not exist or you do not have access to it.", "invalid_request_error", "model_not_found")),
    ("openai", "content_filtered", 400, openai("Invalid prompt: your prompt was flagged as potentially violating our usage policy.", "invalid_request_error",
                                               "invalid_prompt")),
    ("openai", "client_error", 400, openai("Invalid type for 'messages[0].content'.", "invalid_request_error", "invalid_type")),
    ("openai", "server_error", 500, openai("The server had an error while processing your request. Sorry about that!", "server_error")),
    ("azure", "credential_error", 401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key or wrong API endpoint."}}),
    ("azure", "model_unavailable", 404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}}),
    ("azure", "rate_limited", 429, {"error": {"code": "429", "message": "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version "
                                              "2024-10-21 have exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry after 6 seconds."}}),
    ("azure", "content_filtered", 400, {"error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "type": None, "param": "prompt",
        "code": "content_filter", "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    ("anthropic", "credential_error", 401, anthropic("authentication_error", "invalid x-api-key")),
    ("anthropic", "credential_error", 403, anthropic("permission_error", "Your API key does not have permission to use the specified resource.")),
    ("anthropic", "quota_exhausted", 400, anthropic("invalid_request_error", "Your credit balance is too low to access the Anthropic API. Please go to Plans & "
                                                    "Billing to upgrade or purchase credits.")),
    ("anthropic", "quota_exhausted", 400, anthropic("invalid_request_error", "You have reached your specified API usage limits. You will regain access on "
                                                    "2026-12-01 at 00:00 UTC.")),
    ("anthropic", "rate_limited", 429, anthropic("rate_limit_error", "This request would exceed your organization's rate limit of 40,000 input tokens per minute.")),
    ("anthropic", "context_too_long", 400, anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")),
    ("anthropic", "context_too_long", 400, anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000")),
    ("anthropic", "model_unavailable", 404, anthropic("not_found_error", "model: claude-9")),
    ("anthropic", "overloaded", 529, anthropic("overloaded_error", "Overloaded")),
    ("anthropic", "too_large", 413, anthropic("request_too_large", "Request exceeds the maximum size")),
    ("anthropic", "content_filtered", 400, anthropic("invalid_request_error", "Output blocked by content filtering policy")),
    ("anthropic", "client_error", 400, anthropic("invalid_request_error", "messages: roles must alternate between \"user\" and \"assistant\"")),
    ("anthropic", "server_error", 500, anthropic("api_error", "Internal server error")),
    ("gemini", "credential_error", 400, gemini(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", info("API_KEY_INVALID"))),
    ("gemini", "credential_error", 403, gemini(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")),
    ("gemini", "quota_exhausted", 429, gemini(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details.", DAY)),
    ("gemini", "rate_limited", 429, gemini(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details.", MINUTE)),
    ("gemini", "context_too_long", 400, gemini(400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).")),
    ("gemini", "model_unavailable", 404, gemini(404, "NOT_FOUND", "models/gemini-9 is not found for API version v1beta, or is not supported for generateContent.")),
    ("gemini", "model_unavailable", 400, gemini(400, "FAILED_PRECONDITION", "User location is not supported for the API use.")),
    ("gemini", "overloaded", 503, gemini(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")),
    ("gemini", "client_error", 400, gemini(400, "INVALID_ARGUMENT", "* GenerateContentRequest.contents: contents is not specified")),
    ("gemini", "server_error", 500, gemini(500, "INTERNAL", "An internal error has occurred. Please retry.")),
]
# How each client's dialect says an outcome: openai (type, code), anthropic's type, gemini's status; and the status of the answer when it is not the provider's.
SAID = {
    "credential_error": (("upstream_error", "provider_credentials_refused"), "api_error", "INTERNAL", 502),
    "quota_exhausted": (("insufficient_quota", "insufficient_quota"), "billing_error", "RESOURCE_EXHAUSTED", None),
    "rate_limited": (("rate_limit_error", "rate_limit_exceeded"), "rate_limit_error", "RESOURCE_EXHAUSTED", None),
    "context_too_long": (("invalid_request_error", "context_length_exceeded"), "invalid_request_error", "INVALID_ARGUMENT", None),
    "model_unavailable": (("invalid_request_error", "model_not_found"), "not_found_error", "NOT_FOUND", None),
    "content_filtered": (("invalid_request_error", "content_filter"), "invalid_request_error", "INVALID_ARGUMENT", None),
    "overloaded": (("server_error", "overloaded"), "overloaded_error", "UNAVAILABLE", None),
    "too_large": (("invalid_request_error", "request_too_large"), "request_too_large", "INVALID_ARGUMENT", None),
    "client_error": (("invalid_request_error", None), "invalid_request_error", "INVALID_ARGUMENT", None),
    "server_error": (("server_error", None), "api_error", "INTERNAL", None),
}


@pytest.fixture(scope="module")
def world(shared_lab):
    """A gateway with a provider of each dialect, each the only target of the models that begin with its name."""
    ups = {name: shared_lab.upstream() for name in ("openai", "azure", "anthropic", "gemini")}
    for name, up in ups.items():
        up.options = {"dialect": name, "speaks": [name]}
        if name == "azure":
            up.options["base_url"] = f"http://{up.address}/openai?api-version=2024-10-21"
    routes = [{"name": f"{name}{n}", "path": path, "models": [f"{name}*"], "policy": "failover", "settings": {"targets": [f"{name}/x"]}}
              for name in ups for n, path in enumerate(("/v1/*", "/v1beta/*"))]
    return shared_lab.gateway({**provider_config(ups), "routes": routes}).start(), ups


@pytest.mark.parametrize("provider,outcome,status,body", ROWS, ids=[f"{p}-{o}-{n}" for n, (p, o, _, _) in enumerate(ROWS)])
@pytest.mark.parametrize("client", DIALECTS)
def test_what_a_provider_refuses(world, provider, outcome, status, body, client):
    """Goal: the outcome is what the provider means, and clients of each dialect get its words in an error that their SDKs know."""
    gw, ups = world
    ups[provider].script(actions.answer(status, body, headers={"retry-after": "7"}))
    target, question = DIALECTS[client].ask(False, model=provider + "-m")
    answer = call(gw.address, target=target, body=question)
    assert answer.trail == [(f"{provider}/x", outcome, status)]
    error, (type_, anthropic_type, google, own_status) = answer.json()["error"], SAID[outcome]
    assert answer.status == (own_status or status)
    if own_status:
        assert body["error"]["message"] not in error["message"]
    elif client == provider:
        assert answer.json() == body
        return
    else:
        assert body["error"]["message"] in error["message"] and answer.header("retry-after") == "7"
    if client in ("openai", "responses"):
        assert error["type"] == type_[0] and (type_[1] is None or error["code"] == type_[1])
    elif client == "anthropic":
        assert answer.json()["type"] == "error" and error["type"] == anthropic_type
        assert outcome != "context_too_long" or error["message"].startswith("prompt is too long")
    else:
        assert error["code"] == answer.status and error["status"] == google


ALL = [(c, p) for c in DIALECTS for p in ("openai", "anthropic", "gemini")]


@pytest.mark.parametrize("client,provider", ALL, ids=[f"{c}-over-{p}" for c, p in ALL])
def test_error_inside_a_200(lab, client, provider):
    """Goal: a whole answer that says 200 and holds an error is none: another provider answers; with nobody else it has the status that it stands for."""
    body, status = {
        "openai": (openai("Rate limit reached", "requests", "rate_limit_exceeded"), 429), "anthropic": (anthropic("overloaded_error", "Overloaded"), 529),
        "gemini": (gemini(503, "UNAVAILABLE", "The model is overloaded."), 503)}[provider]
    pair = Pair(client, provider)
    p, f1 = lab.upstream(actions.answer(200, body)), lab.upstream(actions.answer(200, pair.provider.body("from f1")))
    answer = pair.call(pair.gateway(lab, {"p": p, "f1": f1}), False)
    assert answer.status == 200 and b"from f1" in answer.body
    assert answer.trail == [("p/p-model", "error_event", 200), ("f1/f1-model", "ok", 200)]
    answer = pair.call(pair.gateway(lab, {"p": p}), False)
    assert answer.status == status and body["error"]["message"] in answer.json()["error"]["message"]
