# SPDX-License-Identifier: MIT
"""
Servers that speak as OpenAI does, with what is particular to each: fields that OpenAI has not, comments between
events, errors in shapes of their own. Written after their public documentation and reports.
"""
from . import actions, wire


def _stream(*chunks, model, comment=None, done=True, **fixed):
    """Events of chat.completion.chunk; comment: a line of bytes before the first."""
    events = [comment] if comment else []
    for chunk in chunks:
        value = {"id": "gen-1", "object": "chat.completion.chunk", "created": 1760000000, "model": model, **fixed}
        events.append(wire.event({**value, **chunk}))
    return actions.stream(*events, *([wire.DONE] if done else []))


def _choice(delta, finish=None, **more):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish, **more}]}


USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


class Vllm:
    """vLLM: nulls for what is absent, reasoning apart, usage in a last chunk without choices, flat errors."""
    model = "Qwen/Qwen3-8B"
    whole = actions.answer(value={
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1760000000, "model": model,
        "choices": [{"index": 0, "message": {
            "role": "assistant", "content": "Hello.", "refusal": None, "annotations": None, "audio": None,
            "function_call": None, "tool_calls": [], "reasoning_content": None}, "logprobs": None,
            "finish_reason": "stop", "stop_reason": None, "token_ids": None}],
        "service_tier": None, "system_fingerprint": None, "usage": {**USAGE, "prompt_tokens_details": None},
        "prompt_logprobs": None, "kv_transfer_params": None})
    stream = _stream(_choice({"role": "assistant", "content": ""}, logprobs=None),
                     _choice({"reasoning_content": "A greeting."}), _choice({"content": "Hello."}),
                     _choice({"content": ""}, "stop", stop_reason=None), {"choices": [], "usage": USAGE}, model=model)
    error = actions.answer(400, {
        "object": "error", "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 "
        "tokens in the messages, Please reduce the length of the messages.", "type": "BadRequestError", "param": None,
        "code": 400})
    outcome = "context_too_long"


class Ollama:
    """Ollama: its own fingerprint, reasoning under another name, 404 for what has not been pulled."""
    model = "qwen3:8b"
    whole = actions.answer(value={
        "id": "chatcmpl-271", "object": "chat.completion", "created": 1760000000, "model": model,
        "system_fingerprint": "fp_ollama", "usage": USAGE,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello.", "reasoning": "A greeting."},
                     "finish_reason": "stop"}]})
    stream = _stream(_choice({"role": "assistant", "content": "", "reasoning": "A greeting."}),
                     _choice({"role": "assistant", "content": "Hello."}),
                     _choice({"role": "assistant", "content": ""}, "stop"),
                     model=model, system_fingerprint="fp_ollama")
    error = actions.answer(404, {"error": {"message": 'model "qwen3:8b" not found, try pulling it first',
                                           "type": "api_error", "param": None, "code": None}})
    outcome = "model_unavailable"


class Groq:
    """Groq: usage of a stream under x_groq, limits told in headers."""
    model = "openai/gpt-oss-20b"
    whole = actions.answer(value={
        **wire.completion("Hello.", model, (9, 4)), "x_groq": {"id": "req_1"}, "service_tier": "on_demand",
        "usage": {**USAGE, "queue_time": 0.01, "prompt_time": 0.001, "completion_time": 0.02, "total_time": 0.021},
        "usage_breakdown": None})
    stream = _stream({**_choice({"role": "assistant", "content": ""}), "x_groq": {"id": "req_1"}},
                     _choice({"content": "Hello."}),
                     {**_choice({}, "stop"), "x_groq": {"id": "req_1", "usage": USAGE}}, model=model)
    error = actions.answer(429, {"error": {
        "message": "Rate limit reached for model `openai/gpt-oss-20b` in organization `org_1` service tier `on_demand` "
        "on tokens per minute (TPM): Limit 8000, Used 7900, Requested 500. Please try again in 3s.",
        "type": "tokens", "code": "rate_limit_exceeded"}}, headers={"retry-after": "3"})
    outcome = "rate_limited"


class DeepSeek:
    """DeepSeek: thinks in reasoning_content, keeps the line open by comments, says 402 to an empty account."""
    model = "deepseek-chat"
    whole = actions.answer(value={
        **wire.completion("Hello.", model, reasoning_content="A greeting."),
        "usage": {**USAGE, "prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": 9}})
    stream = _stream(_choice({"role": "assistant", "content": None, "reasoning_content": ""}),
                     _choice({"content": None, "reasoning_content": "A greeting."}),
                     _choice({"content": "Hello.", "reasoning_content": None}),
                     {**_choice({"content": "", "reasoning_content": None}, "stop"), "usage": USAGE},
                     model=model, comment=b": keep-alive\n\n")
    error = actions.answer(402, {"error": {"message": "Insufficient Balance", "type": "unknown_error", "param": None,
                                           "code": "invalid_request_error"}})
    outcome = "quota_exhausted"


class OpenRouter:
    """OpenRouter: comments while it looks for a provider, and errors inside a 200, in the choices of a stream too."""
    model = "qwen/qwen3-8b"
    whole = actions.answer(value={
        **wire.completion("Hello.", model, (9, 4)), "provider": "DeepInfra"})
    stream = _stream(_choice({"role": "assistant", "content": ""}, native_finish_reason=None),
                     _choice({"role": "assistant", "content": "Hello."}, native_finish_reason=None),
                     _choice({"role": "assistant", "content": ""}, "stop", native_finish_reason="stop"),
                     {**_choice({"role": "assistant", "content": ""}), "usage": USAGE},
                     model=model, comment=b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n", provider="DeepInfra")
    error = actions.answer(200, {"error": {"message": "Provider returned error", "code": 502,
                                           "metadata": {"raw": "upstream timed out", "provider_name": "DeepInfra"}},
                                 "user_id": "user_1"})
    outcome = "error_event"
    broken = _stream({**_choice({"content": ""}, "error"),
                      "error": {"code": 502, "message": "Provider disconnected"}}, model=model, done=False,
                     comment=b": OPENROUTER PROCESSING\n\n", provider="DeepInfra")


class Mistral:
    """Mistral: refuses fields that it does not know."""
    model = "mistral-small-latest"
    whole = actions.answer(value=wire.completion("Hello.", model, (9, 4)))
    stream = _stream(_choice({"role": "assistant", "content": ""}), _choice({"content": "Hello."}),
                     {**_choice({"content": ""}, "stop"), "usage": USAGE}, model=model)
    error = actions.answer(422, {
        "object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "store"],
                                                   "msg": "Extra inputs are not permitted", "input": True}]},
        "type": "invalid_request_error", "param": None, "code": None})
    outcome = "client_error"


SERVERS = {"vllm": Vllm, "ollama": Ollama, "groq": Groq, "deepseek": DeepSeek, "openrouter": OpenRouter,
           "mistral": Mistral}
