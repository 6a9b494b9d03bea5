# SPDX-License-Identifier: MIT
"""Anthropic's messages."""
import re

from .neutral import Asked, between, bytes_of, known, need, pieces, schema_of, sse, text_of

FIELDS = set("model messages max_tokens stream system tools tool_choice stop_sequences temperature top_p top_k metadata thinking service_tier "
             "output_config container context_management mcp_servers cache_control".split())
STOP = {"stop": "end_turn", "length": "max_tokens", "calls": "tool_use", "filter": "refusal"}
ERRORS = {
    "rate_limit": (429, "rate_limit_error", "This request would exceed your organization's rate limit."),
    "overloaded": (529, "overloaded_error", "Overloaded"),
    "credential": (401, "authentication_error", "invalid x-api-key"),
    "context": (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
    "unknown_model": (404, "not_found_error", "model: no-such-model"),
    "bad_request": (400, "invalid_request_error", "it is not good: bad shape"),
}
ID = re.compile(r"[a-zA-Z0-9_-]+")
BLOCKS = {
    "text": {"text", "citations"}, "image": {"source"}, "document": {"source", "title", "context", "citations"},
    "tool_use": {"id", "name", "input", "caller"}, "tool_result": {"tool_use_id", "content", "is_error"},
    "thinking": {"thinking", "signature"}, "redacted_thinking": {"data"},
}
ALLOWED = {"user": {"text", "image", "document", "tool_result"}, "assistant": {"text", "tool_use", "thinking", "redacted_thinking"}}
FILTERS_IN_ANSWER = True     # a filtered request is an answer


def wants(request):
    return request.path.endswith("/messages")


def read(request):
    need("sk-anthropic" in (request.header("x-api-key"), (request.header("authorization") or "")[len("Bearer "):]), "x-api-key is not the provider's")
    version = request.header("anthropic-version")
    need(version in ("2023-06-01", "2026-10-21"), f"anthropic-version: {version!r}")
    body = known(request.json(), FIELDS if version == "2023-06-01" else FIELDS - {"temperature", "top_p", "top_k"}, "body")
    asked = Asked(text_of(body.get("model"), "model"), body.get("stream") is True)
    need(isinstance(body.get("max_tokens"), int) and body["max_tokens"] >= 1, "max_tokens: Field required")
    asked.limit = body["max_tokens"]
    asked.temperature = between(body.get("temperature"), 0, 1, "temperature")
    asked.stop = body.get("stop_sequences") or []
    need(all(isinstance(s, str) and s.strip() for s in asked.stop), "stop_sequences: each must contain non-whitespace")
    if "metadata" in body:
        known(body["metadata"], {"user_id"}, "metadata")
    read_system(body.get("system"), asked)
    read_tools(body, asked)
    read_thinking(body, asked)
    form = known(body.get("output_config") or {}, {"format", "effort"}, "output_config").get("format")
    if form:
        need(form.get("type") == "json_schema", "output_config.format.type")
        asked.schema = schema_of(known(form, {"type", "schema"}, "output_config.format").get("schema"), "output_config.format.schema")
    read_messages(body.get("messages"), asked)
    return asked


def read_system(system, asked):
    if isinstance(system, str):
        asked.system = text_of(system, "system")
    for block in system if isinstance(system, list) else []:
        need(known(block, {"type", "text", "cache_control", "citations"}, "system").get("type") == "text", "system: only text")
        asked.system = "\n".join(filter(None, (asked.system, text_of(block.get("text"), "system: text content blocks must be non-empty"))))


def read_tools(body, asked):
    for n, tool in enumerate(body.get("tools") or []):
        where = f"tools.{n}"
        known(tool, {"type", "name", "description", "input_schema", "cache_control", "strict", "eager_input_streaming", "input_examples"}, where)
        need(tool.get("type", "custom") == "custom" and re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", tool.get("name", "")), f"{where}.name: {tool.get('name')!r}")
        asked.tools[tool["name"]] = schema_of(tool.get("input_schema"), f"{where}.input_schema")
    if "tool_choice" in body:
        choice = known(body["tool_choice"], {"type", "name", "disable_parallel_tool_use"}, "tool_choice")
        need(asked.tools, "tool_choice may only be specified while providing tools")
        kinds = {"auto": "auto", "any": "required", "none": "none", "tool": choice.get("name")}
        need(choice.get("type") in kinds, f"tool_choice.type: {choice.get('type')!r}")
        asked.choice = kinds[choice["type"]]


def read_thinking(body, asked):
    thinking = body.get("thinking") or {"type": "disabled"}
    kind = known(thinking, {"type", "budget_tokens", "display"}, "thinking").get("type")
    need(kind in ("enabled", "adaptive", "disabled"), f"thinking.type: {kind!r}")
    asked.thinking = kind != "disabled"
    if kind == "enabled":
        need(isinstance(thinking.get("budget_tokens"), int) and thinking["budget_tokens"] >= 1024, "thinking.budget_tokens: at least 1024")
        need(thinking["budget_tokens"] < asked.limit, "max_tokens must be greater than thinking.budget_tokens")
    if asked.thinking:
        need(asked.temperature in (None, 1), "temperature may only be set to 1 when thinking is enabled")
        need(asked.choice in (None, "auto", "none"), "Thinking may not be enabled when tool_choice forces tool use.")


def read_messages(messages, asked):
    need(isinstance(messages, list) and messages, "messages: at least one message is required")
    open_calls, before = {}, "assistant"
    for n, message in enumerate(messages):
        where = f"messages.{n}"
        role = known(message, {"role", "content"}, where).get("role")
        need(role in ALLOWED, f"{where}.role: {role!r}")
        need(role != before, f"{where}: roles must alternate")
        before = role
        blocks = message.get("content")
        blocks = [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks
        need(isinstance(blocks, list) and blocks, f"{where}.content: at least one block is expected")
        asked.turns.append(role)
        open_calls = read_blocks(blocks, role, where, open_calls, asked)
    need(role == "user" or not asked.thinking, "the last message may not be the assistant's when thinking is enabled")
    need(not open_calls, "tool_use ids were found without tool_result blocks")
    last = next((m for m in reversed(messages) if m["role"] == "assistant"), None)
    if asked.thinking and last and isinstance(last["content"], list) and tool_loop(messages[-1]):
        first = last["content"][0]["type"]
        need(first in ("thinking", "redacted_thinking"), f"Expected `thinking` or `redacted_thinking`, but found `{first}`")


def tool_loop(message):
    return isinstance(message["content"], list) and message["content"][0].get("type") == "tool_result"


def read_blocks(blocks, role, where, open_calls, asked):
    texts, made, others, names = [], {}, False, {}
    for block in blocks:
        kind = block.get("type")
        need(kind in ALLOWED[role], f"{where}.content: {kind!r} blocks are not allowed for {role}")
        known(block, BLOCKS[kind] | {"type", "cache_control"}, f"{where}.content")
        if kind == "text":
            texts.append(text_of(block.get("text"), f"{where}: text content blocks must be non-empty"))
        elif kind == "image":
            asked.images.append(image(block["source"], where))
        elif kind == "tool_use":
            need(ID.fullmatch(block.get("id", "")) and block["id"] not in made, f"{where}: tool_use.id {block.get('id')!r}")
            need(isinstance(block.get("input"), dict), f"{where}: tool_use.input: an object is expected, not {block.get('input')!r:.60}")
            made[block["id"]] = block["name"]
            asked.calls.append((block["name"], block["input"]))
        elif kind == "tool_result":
            need(not others, f"{where}: tool_result blocks must come first")
            need(block.get("tool_use_id") in open_calls, f"{where}: unexpected tool_use_id {block.get('tool_use_id')!r} in tool_result")
            names[block["tool_use_id"]] = open_calls.pop(block["tool_use_id"])
            asked.results[names[block["tool_use_id"]]] = result(block.get("content"), where)
        elif kind == "thinking":
            need(isinstance(block.get("thinking"), str) and block.get("signature"), f"{where}: thinking without its signature")
            need(block["signature"] == "c2lnbmVkLWJ5LW1l", f"{where}: Invalid `signature` in `thinking` block: {block['signature']!r:.80}")
            asked.signatures.append(block["signature"])
        others = others or kind != "tool_result"
    need(not open_calls, f"{where}: tool_use ids {sorted(open_calls)} without tool_result blocks immediately after")
    if role == "user" and texts:
        asked.user = "\n".join(texts)
    return made


def image(source, where):
    kind = source.get("type")
    if kind == "url":
        return None, known(source, {"type", "url"}, where)["url"]
    need(kind == "base64" and known(source, {"type", "media_type", "data"}, where), f"{where}: image.source.type {kind!r}")
    need(source.get("media_type") in ("image/png", "image/jpeg", "image/gif", "image/webp"), f"{where}: media_type {source.get('media_type')!r}")
    return source["media_type"], bytes_of(source.get("data"), where)


def result(content, where):
    if content is None or isinstance(content, str):
        return content or ""
    for block in content:
        need(block.get("type") in ("text", "image", "document"), f"{where}: tool_result.content: {block.get('type')!r}")
    return "\n".join(text_of(b.get("text"), f"{where}: tool_result text") for b in content if b["type"] == "text")


def usage(u):
    return {"input_tokens": u.input - u.cached, "cache_creation_input_tokens": 0, "cache_read_input_tokens": u.cached,
            "output_tokens": u.output, "output_tokens_details": {"thinking_tokens": u.reasoning}, "service_tier": "standard"}


def message(asked, content, stop, u):
    return {"id": "msg_01", "type": "message", "role": "assistant", "model": asked.model, "content": content, "stop_reason": stop,
            "stop_sequence": None, "usage": u}


def answer(asked, a):
    content = [{"type": "thinking", "thinking": a.thinking, "signature": a.signature}] if a.thinking else []
    if a.text and a.stop != "filter":
        content.append({"type": "text", "text": a.text})
    content += [{"type": "tool_use", "id": c.id, "name": c.name, "input": c.arguments} for c in a.calls]
    return message(asked, content, STOP[a.stop], usage(a.usage))


def events(asked, a, request):
    def event(type_, **fields):
        return sse({"type": type_, **fields}, type_)

    def block(index, opening, deltas):
        yield event("content_block_start", index=index, content_block=opening)
        for delta in deltas:
            yield event("content_block_delta", index=index, delta=delta)
        if not (a.cut or a.error):
            yield event("content_block_stop", index=index)
    index = 0
    yield event("message_start", message=message(asked, [], None, {**usage(a.usage), "output_tokens": 1}))
    yield event("ping")
    if a.thinking:
        yield from block(0, {"type": "thinking", "thinking": "", "signature": ""},
                         [{"type": "thinking_delta", "thinking": p} for p in pieces(a.thinking)] + [{"type": "signature_delta", "signature": a.signature}])
        index = 1
    if a.text and a.stop != "filter":
        deltas = ({"type": "text_delta", "text": p} for p in (iter(lambda: "on and on ", None) if a.forever else pieces(a.text)))
        yield from block(index, {"type": "text", "text": ""}, deltas)
        index += 1
    for call in a.calls:
        yield from block(index, {"type": "tool_use", "id": call.id, "name": call.name, "input": {}},
                         [{"type": "input_json_delta", "partial_json": p} for p in ["", *pieces(call.json)]])
        index += 1
    if a.error:
        yield error_event(a.error)
    if not (a.cut or a.error):
        yield event("message_delta", delta={"stop_reason": STOP[a.stop], "stop_sequence": None}, 
                    usage={"output_tokens": a.usage.output, "output_tokens_details": {"thinking_tokens": a.usage.reasoning}})
        yield event("message_stop")


def error(kind, message_=None):
    status, type_, text = ERRORS[kind]
    return status, {"type": "error", "error": {"type": type_, "message": message_ or text}, "request_id": "req_1"}


def error_event(kind):
    return sse(error(kind)[1], "error")


STREAM_TYPE = "text/event-stream; charset=utf-8"
