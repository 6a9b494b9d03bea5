# SPDX-License-Identifier: MIT
"""Azure OpenAI: chat completions behind a deployment's URL, with api-key and a content filter of its own."""
import re
from urllib.parse import unquote

from . import openai
from .neutral import need
from .openai import STREAM_TYPE, answer, error_event, events  # noqa: F401 (the same)

ERRORS = {
    "rate_limit": (429, "429", "Requests to the ChatCompletions_Create Operation have exceeded call rate limit. Please retry after 6 seconds."),
    "overloaded": (503, "503", "The service is temporarily unable to process your request. Please try again later."),
    "credential": (401, "401", "Access denied due to invalid subscription key or wrong API endpoint."),
    "unknown_model": (404, "DeploymentNotFound", "The API deployment for this resource does not exist."),
}
FILTERED = {"error": {
    "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "type": None,
    "param": "prompt", "code": "content_filter", "status": 400,
    "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"violence": {"filtered": True, "severity": "high"}}}}}
FILTERS_IN_ANSWER = False     # a filtered request is an error


def wants(request):
    return "/openai/deployments/" in request.path and request.path.endswith("/chat/completions")


def read(request):
    need(request.header("api-key") == "sk-azure" and not request.header("authorization"), "Access denied: api-key")
    need("api-version=" in request.target, "api-version is missing")
    body = request.json()
    deployment = unquote(re.search(r"/deployments/([^/]+)/", request.path)[1])
    body.setdefault("model", deployment)
    asked = openai.read_body(body)
    asked.model = deployment
    return asked


def error(kind, message=None):
    if kind == "content_filter":
        return 400, FILTERED
    if kind in ERRORS:
        status, code, text = ERRORS[kind]
        return status, {"error": {"code": code, "message": message or text}}
    return openai.error(kind, message)
