# SPDX-License-Identifier: MIT
"""Who stands in the matrix: clients, providers, and which cells they have."""
import json
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CASES = json.loads((HERE / "cases.json").read_text())["cases"]


@dataclass(frozen=True)
class Client:
    title: str          # as the table names it
    language: str       # py or js: which program plays it
    name: str           # how that program calls it
    kind: str           # how its results look: chat, responses, anthropic, genai, ai
    dialect: str        # what it speaks
    package: str        # whose error types it raises
    thoughts: bool      # shows the text of thinking
    error: str = ""     # the type of every error, where it does not depend on the status
    stream_error: str = ""

    @property
    def id(self):
        return f"{self.language}-{self.name}"


OPENAI = dict(package="openai", stream_error="APIError|InternalServerError|ResponseFailed")
ANTHROPIC = dict(package="anthropic", stream_error="APIStatusError|APIError|InternalServerError|OverloadedError")
GENAI = dict(package="genai", thoughts=True, error="ClientError|ServerError", stream_error="ServerError|ClientError|APIError")
AI = dict(package="ai", error="AI_APICallError", stream_error=".+Error")
CLIENTS = [
    Client("openai (Python), chat", "py", "chat", "chat", "openai", thoughts=False, **OPENAI),
    Client("openai (Python), responses", "py", "responses", "responses", "responses", thoughts=True, **OPENAI),
    Client("anthropic (Python)", "py", "anthropic", "anthropic", "anthropic", thoughts=True, **ANTHROPIC),
    Client("google-genai (Python)", "py", "genai", "genai", "gemini", **GENAI),
    Client("openai (JS), chat", "js", "chat", "chat", "openai", thoughts=False, **OPENAI),
    Client("openai (JS), responses", "js", "responses", "responses", "responses", thoughts=True, **OPENAI),
    Client("@anthropic-ai/sdk", "js", "anthropic", "anthropic", "anthropic", thoughts=True, **ANTHROPIC),
    Client("@google/genai", "js", "genai", "genai", "gemini", **{**GENAI, "error": "ApiError", "stream_error": "ApiError|Error"}),
    Client("ai, @ai-sdk/openai chat", "js", "ai-chat", "ai", "openai", thoughts=False, **AI),
    Client("ai, @ai-sdk/openai responses", "js", "ai-responses", "ai", "responses", thoughts=True, **AI),
    Client("ai, @ai-sdk/anthropic", "js", "ai-anthropic", "ai", "anthropic", thoughts=True, **AI),
    Client("ai, @ai-sdk/google", "js", "ai-google", "ai", "gemini", thoughts=True, **AI),
]
PROVIDERS = {       # name: (title, the provider's fields in gateway.lua; {root} is where it listens)
    "openai": ("openai", {"dialect": "openai", "base_url": "{root}/v1", "api_key": "sk-openai"}),
    "chat": ("openai, chat only", {"dialect": "openai", "speaks": ["openai"], "base_url": "{root}/v1", "api_key": "sk-openai"}),
    "responses": ("responses", {"dialect": "responses", "speaks": ["responses"], "base_url": "{root}/v1", "api_key": "sk-responses"}),
    "anthropic": ("anthropic", {"dialect": "anthropic", "base_url": "{root}/v1", "api_key": "sk-anthropic"}),
    "gemini": ("gemini", {"dialect": "gemini", "base_url": "{root}/v1beta", "api_key": "sk-gemini"}),
    "azure": ("azure", {"dialect": "azure", "base_url": "{root}/openai?api-version=2024-10-21", "api_key": "sk-azure"}),
    "bedrock": ("bedrock", {"dialect": "bedrock", "base_url": "{root}", "aws": {
        "region": "us-east-1", "access_key": "AKIDEXAMPLE", "secret_key": "aws-secret"}}),
}
MODELS = {"anthropic": "--claude-sonnet-4-5", "gemini": "--gemini-2.5-flash", "bedrock": "--anthropic.claude-sonnet-4-5-20250929-v1:0"}  # end of the names


@dataclass(frozen=True)
class Cell:
    client: Client
    provider: str
    number: int
    aimock: bool = False    # who plays the provider

    @property
    def case(self):
        return CASES[self.number]

    @property
    def model(self):
        """Names the route and the play."""
        return f"{'aimock-' if self.aimock else ''}{self.provider}--{self.case['play']}{MODELS.get(self.provider, '')}"

    @property
    def id(self):
        """Stands in the question, for the provider's record."""
        return f"{self.client.id}-{self.provider}-{self.number}{'-aimock' if self.aimock else ''}"


AIMOCK = ("plain", "stream", "tool", "tool stream", "two tools", "two tools stream")    # the cases that aimock can play


def there(client, provider, case):
    """False for what one of the two has no word for."""
    if case["play"] == "stopping":
        return "responses" not in (client.dialect, provider)
    return True


def cells(clients=CLIENTS, providers=PROVIDERS, cases=None):
    """Those of the scripted providers, then those of aimock, client by client."""
    return [Cell(c, p, n, aimock) for c in clients for aimock in (False, True) for p in providers for n, case in enumerate(CASES)
            if there(c, p, case) and (not aimock or case["name"] in AIMOCK) and (not cases or case["name"] in cases)]
