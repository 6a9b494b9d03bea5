# SPDX-License-Identifier: MIT
"""OpenAI's responses."""
from . import openai
from .neutral import NAME, Asked, between, data_url, json_object, known, need, pieces, schema_of, sse, strict_schema, text_of
from .openai import STREAM_TYPE  # noqa: F401 (the same)

FIELDS = set("model input instructions stream stream_options tools tool_choice parallel_tool_calls text max_output_tokens max_tool_calls temperature top_p "
             "top_logprobs truncation user metadata reasoning service_tier store include previous_response_id background prompt prompt_cache_key "
             "safety_identifier conversation".split())
INPUT = {"input_text": {"text"}, "input_image": {"image_url", "detail", "file_id"}, "input_file": {"file_data", "filename", "file_id", "file_url"},
         "output_text": {"text", "annotations", "logprobs"}, "refusal": {"refusal"}}
FILTERS_IN_ANSWER = False     # a filtered request is an error


def wants(request):
    return request.path.endswith("/responses")


def read(request):
    need(request.header("authorization") in ("Bearer sk-openai", "Bearer sk-responses"), "the provider's key is not there")
    body = known(request.json(), FIELDS, "body")
    asked = Asked(text_of(body.get("model"), "model"), body.get("stream") is True)
    asked.limit = body.get("max_output_tokens")
    need(asked.limit is None or isinstance(asked.limit, int) and asked.limit >= 16, f"max_output_tokens: at least 16, not {asked.limit!r}")
    asked.temperature = between(body.get("temperature"), 0, 2, "temperature")
    asked.system = text_of(body["instructions"], "instructions") if body.get("instructions") is not None else ""
    reasoning = known(body.get("reasoning") or {}, {"effort", "summary", "generate_summary", "context"}, "reasoning")
    asked.thinking = reasoning.get("effort") not in (None, "none", "minimal")
    read_tools(body, asked)
    text = known(body.get("text") or {}, {"format", "verbosity"}, "text")
    form = text.get("format") or {"type": "text"}
    need(form.get("type") in ("text", "json_object", "json_schema"), f"text.format.type: {form.get('type')!r}")
    if form["type"] == "json_schema":
        known(form, {"type", "name", "schema", "strict", "description"}, "text.format")
        need(NAME.fullmatch(form.get("name", "")), f"text.format.name: {form.get('name')!r}")
        asked.schema = schema_of(form.get("schema"), "text.format.schema")
        if form.get("strict"):
            strict_schema(asked.schema, "text.format.schema")
    read_input(body.get("input"), asked)
    return asked


def read_tools(body, asked):
    for n, tool in enumerate(body.get("tools") or []):
        where = f"tools.{n}"
        known(tool, {"type", "name", "description", "parameters", "strict"}, where)
        need(tool.get("type") == "function" and NAME.fullmatch(tool.get("name", "")), f"{where}: {tool.get('type')!r}, {tool.get('name')!r}")
        asked.tools[tool["name"]] = schema_of(tool.get("parameters"), f"{where}.parameters")
        if tool.get("strict"):
            strict_schema(tool["parameters"], f"{where}.parameters")
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        need(known(choice, {"type", "name"}, "tool_choice").get("name") in asked.tools, f"tool_choice: {choice}")
        choice = choice["name"]
    asked.choice = choice


def read_input(items, asked):
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    need(isinstance(items, list) and items, "input: at least one item is expected")
    open_calls = {}
    for n, item in enumerate(items):
        where, kind = f"input.{n}", item.get("type", "message")
        if kind == "function_call":
            known(item, {"type", "id", "call_id", "name", "arguments", "status", "namespace"}, where)
            need(item.get("call_id") and item["call_id"] not in open_calls, f"{where}.call_id: {item.get('call_id')!r}")
            need(item.get("id") is None or item["id"].startswith("fc"), f"{where}.id: Expected an ID that begins with 'fc', not {item.get('id')!r}")
            open_calls[item["call_id"]] = item["name"]
            asked.calls.append((item["name"], json_object(item.get("arguments"), f"{where}.arguments")))
            asked.turns.append("assistant")
        elif kind == "function_call_output":
            known(item, {"type", "id", "call_id", "output", "status"}, where)
            need(item.get("call_id") in open_calls, f"{where}: No tool call found for function call output with call_id {item.get('call_id')!r}")
            output = item.get("output")
            need(isinstance(output, (str, list)), f"{where}.output: {output!r:.60}")
            asked.results[open_calls.pop(item["call_id"])] = output if isinstance(output, str) else "\n".join(p["text"] for p in output)
            asked.turns.append("tool")
        elif kind == "reasoning":
            known(item, {"type", "id", "summary", "content", "encrypted_content", "status"}, where)
            need(isinstance(item.get("summary"), list), f"{where}.summary is required")
            need(item.get("id") is None or item["id"].startswith("rs_"), f"{where}.id: Expected an ID that begins with 'rs', not {item.get('id')!r}")
            sealed = item.get("encrypted_content")
            need(sealed in (None, "c2lnbmVkLWJ5LW1l"), f"{where}: The encrypted content {sealed!r:.80} could not be verified")
            asked.signatures += [sealed] if sealed else []
        else:
            need(kind == "message", f"{where}.type: {kind!r}")
            read_message(item, where, asked)
    need(not open_calls, f"No tool output found for function call {sorted(open_calls)}")


def read_message(item, where, asked):
    role = known(item, {"type", "role", "content", "id", "status", "phase"}, where).get("role")
    need(role in ("system", "developer", "user", "assistant"), f"{where}.role: {role!r}")
    parts = item.get("content")
    if isinstance(parts, str):
        parts = [{"type": "output_text" if role == "assistant" else "input_text", "text": parts}]
    need(isinstance(parts, list) and parts, f"{where}.content: {parts!r:.60}")
    texts = []
    for part in parts:
        kind = part.get("type")
        need(kind in INPUT and (kind in ("output_text", "refusal")) == (role == "assistant"), f"{where}.content: {kind!r} is not allowed for {role}")
        known(part, INPUT[kind] | {"type"}, where)
        if "text" in part:
            texts.append(text_of(part["text"], where, empty=True))
        if kind == "input_image":
            asked.images.append(data_url(part.get("image_url"), where))
    if role in ("system", "developer"):
        asked.system = "\n".join(filter(None, (asked.system, *texts)))
        return
    asked.turns.append(role)
    if role == "user" and texts:
        asked.user = "\n".join(texts)


def usage(u):
    return {"input_tokens": u.input, "input_tokens_details": {"cached_tokens": u.cached}, "output_tokens": u.output,
            "output_tokens_details": {"reasoning_tokens": u.reasoning}, "total_tokens": u.input + u.output}


def items(a):
    """The items of the output."""
    out = []
    if a.thinking:
        out.append({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": a.thinking}], "encrypted_content": a.signature})
    if a.text:
        out.append({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                    "content": [{"type": "output_text", "text": a.text, "annotations": [], "logprobs": []}]})
    out += [{"type": "function_call", "id": f"fc_{n}", "call_id": c.id, "name": c.name, "arguments": c.json, "status": "completed"}
            for n, c in enumerate(a.calls)]
    return out


def response(asked, status, output, u=None, reason=None):
    return {"id": "resp_1", "object": "response", "created_at": 1700000000, "status": status, "background": False, "error": None,
            "incomplete_details": {"reason": reason} if reason else None, "instructions": None, "max_output_tokens": asked.limit, "metadata": {},
            "model": asked.model, "output": output, "parallel_tool_calls": True, "previous_response_id": None, "reasoning": {"effort": None, "summary": None},
            "store": True, "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1.0,
            "truncation": "disabled", "usage": u, "user": None}


def ending(asked, a):
    reason = {"length": "max_output_tokens", "filter": "content_filter"}.get(a.stop)
    return response(asked, "incomplete" if reason else "completed", items(a), usage(a.usage), reason)


def answer(asked, a):
    return ending(asked, a)


def item_events(n, item, a):
    """(type, fields) of the events of one item of the output."""
    kind = item["type"]
    at = {"item_id": item["id"], "output_index": n}
    if kind == "function_call":
        yield "response.output_item.added", {"output_index": n, "item": {**item, "arguments": "", "status": "in_progress"}}
        for piece in pieces(item["arguments"]):
            yield "response.function_call_arguments.delta", {**at, "delta": piece}
        yield "response.function_call_arguments.done", {**at, "arguments": item["arguments"], "name": item["name"]}
    elif kind == "reasoning":
        text = item["summary"][0]["text"]
        yield "response.output_item.added", {"output_index": n, "item": {**item, "summary": []}}
        at = {**at, "summary_index": 0}
        yield "response.reasoning_summary_part.added", {**at, "part": {"type": "summary_text", "text": ""}}
        for piece in pieces(text):
            yield "response.reasoning_summary_text.delta", {**at, "delta": piece}
        yield "response.reasoning_summary_text.done", {**at, "text": text}
        yield "response.reasoning_summary_part.done", {**at, "part": item["summary"][0]}
    else:
        part = item["content"][0]
        at = {**at, "content_index": 0}
        yield "response.output_item.added", {"output_index": n, "item": {**item, "content": [], "status": "in_progress"}}
        yield "response.content_part.added", {**at, "part": {**part, "text": ""}}
        for piece in pieces(part["text"]):
            yield "response.output_text.delta", {**at, "delta": piece, "logprobs": []}
        while a.forever:
            yield "response.output_text.delta", {**at, "delta": "on and on ", "logprobs": []}
        if a.cut or a.error:
            return
        yield "response.output_text.done", {**at, "text": part["text"], "logprobs": []}
        yield "response.content_part.done", {**at, "part": part}
    yield "response.output_item.done", {"output_index": n, "item": item}


def all_events(asked, a):
    yield "response.created", {"response": response(asked, "in_progress", [])}
    yield "response.in_progress", {"response": response(asked, "in_progress", [])}
    for n, item in enumerate(items(a)):
        yield from item_events(n, item, a)
    if a.error:
        failed = response(asked, "failed", [])
        failed["error"] = {"code": "server_error", "message": "The server had an error processing your request."}
        yield "response.failed", {"response": failed}
    elif not a.cut:
        end = ending(asked, a)
        yield f"response.{end['status']}", {"response": end}


def events(asked, a, request):
    for number, (type_, fields) in enumerate(all_events(asked, a)):
        yield sse({"type": type_, "sequence_number": number, **fields}, type_)


def error(kind, message=None):
    return openai.error(kind, message)


def error_event(kind):
    _, type_, code, text = openai.ERRORS[kind]
    return sse({"type": "error", "code": code or type_, "message": text, "param": None, "sequence_number": 0}, "error")
