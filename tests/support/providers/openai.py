# SPDX-License-Identifier: MIT
"""OpenAI's chat completions, as api.openai.com and Azure speak them."""
from .neutral import NAME, Asked, between, data_url, json_object, known, need, pieces, schema_of, sse, strict_schema, text_of

FIELDS = set("model messages stream stream_options tools tool_choice parallel_tool_calls response_format stop max_tokens max_completion_tokens "
             "temperature top_p seed frequency_penalty presence_penalty n logprobs top_logprobs logit_bias user metadata reasoning_effort "
             "service_tier verbosity store modalities audio prediction prompt_cache_key safety_identifier web_search_options".split())
STOP = {"stop": "stop", "length": "length", "calls": "tool_calls", "filter": "content_filter"}
ERRORS = {  # status, type, code, message
    "rate_limit": (429, "requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again later."),
    "overloaded": (503, "server_error", None, "The engine is currently overloaded, please try again later"),
    "credential": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "context": (400, "invalid_request_error", "context_length_exceeded",
                "This model's maximum context length is 128 tokens. However, your messages resulted in 999 tokens."),
    "unknown_model": (404, "invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    "bad_request": (400, "invalid_request_error", None, "it is not good: bad shape"),
    "content_filter": (400, "invalid_request_error", "content_policy_violation", "Your request was rejected as a result of our safety system."),
}
FILTERS_IN_ANSWER = False     # a filtered request is an error


def wants(request):
    return request.path.endswith("/chat/completions")


def credentials(request):
    need(request.header("authorization") == "Bearer sk-openai", "the provider's key is not there")


def read(request):
    credentials(request)
    return read_body(request.json())


def read_body(body):
    known(body, FIELDS, "body")
    need(not ("max_tokens" in body and "max_completion_tokens" in body), "max_tokens and max_completion_tokens are not both allowed")
    asked = Asked(text_of(body.get("model"), "model"), body.get("stream") is True)
    need("stream_options" not in body or asked.stream, "stream_options without stream")
    asked.limit = body.get("max_tokens", body.get("max_completion_tokens"))
    need(asked.limit is None or isinstance(asked.limit, int) and asked.limit > 0, f"max_tokens: {asked.limit!r}")
    asked.temperature = between(body.get("temperature"), 0, 2, "temperature")
    between(body.get("top_p"), 0, 1, "top_p")
    stop = body.get("stop")
    asked.stop = [stop] if isinstance(stop, str) else stop or []
    need(len(asked.stop) <= 4, "stop: four at most")
    asked.thinking = body.get("reasoning_effort") not in (None, "none", "minimal")
    read_tools(body, asked)
    read_format(body.get("response_format"), asked)
    read_messages(body.get("messages"), asked)
    return asked


def read_tools(body, asked):
    need("tools" not in body or body["tools"], "tools: [] is too short")
    for n, tool in enumerate(body.get("tools", [])):
        where = f"tools.{n}"
        need(known(tool, {"type", "function"}, where).get("type") == "function", f"{where}.type")
        function = known(tool.get("function"), {"name", "description", "parameters", "strict"}, f"{where}.function")
        need(NAME.fullmatch(function.get("name", "")), f"{where}.function.name: {function.get('name')!r}")
        asked.tools[function["name"]] = schema_of(function.get("parameters", {"type": "object"}), f"{where}.function.parameters")
        if function.get("strict"):
            strict_schema(function["parameters"], f"{where}.function.parameters")
    choice = body.get("tool_choice")
    need(choice is None or "tools" in body, "tool_choice without tools")
    need("parallel_tool_calls" not in body or "tools" in body, "parallel_tool_calls without tools")
    if isinstance(choice, dict):
        need(choice.get("type") == "function" and choice["function"]["name"] in asked.tools, f"tool_choice: {choice}")
        choice = choice["function"]["name"]
    else:
        need(choice in (None, "auto", "none", "required"), f"tool_choice: {choice!r}")
    asked.choice = choice


def read_format(form, asked):
    if form is None or form.get("type") == "text":
        return
    need(form.get("type") in ("json_object", "json_schema"), f"response_format.type: {form.get('type')!r}")
    if form["type"] == "json_schema":
        schema = known(form.get("json_schema"), {"name", "schema", "strict", "description"}, "response_format.json_schema")
        need(NAME.fullmatch(schema.get("name", "")), f"response_format.json_schema.name: {schema.get('name')!r}")
        asked.schema = schema_of(schema.get("schema"), "response_format.json_schema.schema")
        if schema.get("strict"):
            strict_schema(asked.schema, "response_format.json_schema.schema")


def read_messages(messages, asked):
    need(isinstance(messages, list) and messages, "messages: at least one is expected")
    open_calls = {}
    for n, message in enumerate(messages):
        where, role = f"messages.{n}", message.get("role")
        need(role in ("system", "developer", "user", "assistant", "tool"), f"{where}.role: {role!r}")
        need(role == "tool" or not open_calls, f"{where}: tool calls {sorted(open_calls)} were not answered by tool messages")
        if role == "tool":
            known(message, {"role", "content", "tool_call_id"}, where)
            need(message.get("tool_call_id") in open_calls, f"{where}.tool_call_id: no such call: {message.get('tool_call_id')!r}")
            asked.results[open_calls.pop(message["tool_call_id"])] = content(message.get("content"), where, {"text"}, asked)
        elif role == "assistant":
            known(message, {"role", "content", "tool_calls", "refusal", "name", "audio", "annotations", "function_call"}, where)
            open_calls = read_calls(message.get("tool_calls"), where, asked)
            need(message.get("content") or open_calls or message.get("refusal"), f"{where}: neither content nor tool_calls")
            if message.get("content") is not None:
                content(message["content"], where, {"text", "refusal"}, asked, empty=bool(open_calls))
        else:
            known(message, {"role", "content", "name"}, where)
            kinds = {"text", "image_url", "input_audio", "file"} if role == "user" else {"text"}
            said = content(message.get("content"), where, kinds, asked)
            if role == "user":
                asked.user = said or asked.user
            else:
                asked.system = "\n".join(filter(None, (asked.system, said)))
        if role not in ("system", "developer"):
            asked.turns.append(role)
    need(not open_calls, f"tool calls {sorted(open_calls)} were not answered")


def read_calls(calls, where, asked):
    need(calls is None or isinstance(calls, list) and calls, f"{where}.tool_calls: {calls!r}")
    made = {}
    for call in calls or []:
        known(call, {"id", "type", "function", "index"}, f"{where}.tool_calls")
        need(call.get("type") == "function" and call.get("id") and call["id"] not in made, f"{where}.tool_calls: {call!r:.200}")
        function = known(call["function"], {"name", "arguments"}, f"{where}.tool_calls.function")
        asked.calls.append((function["name"], json_object(function.get("arguments"), f"{where}.tool_calls.arguments")))
        made[call["id"]] = function["name"]
    return made


def content(value, where, kinds, asked, empty=False):
    if isinstance(value, str):
        return text_of(value, f"{where}.content", empty=True)
    need(isinstance(value, list) and value or empty, f"{where}.content: {value!r:.80}")
    out = []
    for part in value or []:
        kind = part.get("type")
        need(kind in kinds, f"{where}.content: type {kind!r} is not allowed here")
        if kind == "text":
            known(part, {"type", "text"}, where)
            out.append(text_of(part.get("text"), f"{where}.text"))
        elif kind == "image_url":
            known(part, {"type", "image_url"}, where)
            known(part["image_url"], {"url", "detail"}, where)
            asked.images.append(data_url(part["image_url"].get("url"), f"{where}.image_url"))
    return "\n".join(out)


def usage(u):
    return {"prompt_tokens": u.input, "completion_tokens": u.output, "total_tokens": u.input + u.output,
            "prompt_tokens_details": {"cached_tokens": u.cached}, "completion_tokens_details": {"reasoning_tokens": u.reasoning}}


def answer(asked, a):
    message = {"role": "assistant", "content": a.text or None, "refusal": None, "annotations": []}
    if a.calls:
        message["tool_calls"] = [{"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.json}} for c in a.calls]
    if a.thinking:
        message["reasoning_content"] = a.thinking
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": asked.model, "service_tier": "default",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": STOP[a.stop]}], "usage": usage(a.usage)}


def events(asked, a, request):
    """The events before the end; the last one ends the stream."""
    more = {"usage": None} if (request.json().get("stream_options") or {}).get("include_usage") else {}

    def chunk(delta, finish=None):
        return sse({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": asked.model,
                    "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}], **more})
    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for piece in pieces(a.thinking):
        yield chunk({"reasoning_content": piece})
    for piece in pieces(a.text):
        yield chunk({"content": piece})
    for n, call in enumerate(a.calls):
        yield chunk({"tool_calls": [{"index": n, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}]})
        for piece in pieces(call.json):
            yield chunk({"tool_calls": [{"index": n, "function": {"arguments": piece}}]})
    while a.forever:
        yield chunk({"content": "on and on "})
    if a.error:
        yield error_event(a.error)
    if not (a.cut or a.error):
        yield chunk({}, STOP[a.stop])
        if more:
            yield sse({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": asked.model,
                       "choices": [], "usage": usage(a.usage)})
        yield sse("[DONE]")


def error(kind, message=None):
    status, type_, code, text = ERRORS[kind]
    return status, {"error": {"message": message or text, "type": type_, "param": None, "code": code}}


def error_event(kind):
    return sse(error(kind)[1])


STREAM_TYPE = "text/event-stream; charset=utf-8"
