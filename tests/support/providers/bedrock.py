# SPDX-License-Identifier: MIT
"""AWS Bedrock's Converse and ConverseStream: signed requests, answers in binary frames."""
import json
import re
import struct
import zlib
from urllib.parse import unquote

from .neutral import Asked, between, bytes_of, dumps, known, need, pieces, schema_of, text_of

FIELDS = {"messages", "system", "inferenceConfig", "toolConfig", "additionalModelRequestFields", "additionalModelResponseFieldPaths", "guardrailConfig",
          "promptVariables", "requestMetadata", "performanceConfig", "serviceTier", "outputConfig"}
STOP = {"stop": "end_turn", "length": "max_tokens", "calls": "tool_use", "filter": "guardrail_intervened"}
ERRORS = {
    "rate_limit": (429, "ThrottlingException", "Too many requests, please wait before trying again."),
    "overloaded": (503, "ServiceUnavailableException", "Bedrock is unable to process your request."),
    "credential": (403, "UnrecognizedClientException", "The security token included in the request is invalid."),
    "context": (400, "ValidationException", "The model returned the following errors: Input is too long for requested model."),
    "unknown_model": (404, "ResourceNotFoundException", "Could not resolve the foundation model from the provided model identifier."),
    "bad_request": (400, "ValidationException", "it is not good: bad shape"),
}
BLOCKS = {"text", "image", "document", "toolUse", "toolResult", "reasoningContent", "cachePoint", "guardContent", "video", "citationsContent"}
STREAM_TYPE = "application/vnd.amazon.eventstream"
FILTERS_IN_ANSWER = True     # a filtered request is an answer


def wants(request):
    return request.path.endswith(("/converse", "/converse-stream"))


def read(request):
    signed = request.header("authorization") or ""
    need(re.match(r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\d{8}/us-east-1/bedrock/aws4_request, ?SignedHeaders=\S+, ?Signature=[0-9a-f]{64}$", signed),
         f"the signature is missing: {signed[:60]!r}")
    model, method = re.search(r"/model/([^/]+)/([\w-]+)$", request.path).groups()
    body = known(request.json(), FIELDS, "body")
    asked = Asked(unquote(unquote(model)), method == "converse-stream")
    config = known(body.get("inferenceConfig") or {}, {"maxTokens", "temperature", "topP", "stopSequences"}, "inferenceConfig")
    asked.limit, asked.stop = config.get("maxTokens"), config.get("stopSequences") or []
    asked.temperature = between(config.get("temperature"), 0, 1, "temperature")
    for block in body.get("system") or []:
        known(block, {"text", "guardContent", "cachePoint"}, "system")
        if "text" in block:
            asked.system = "\n".join(filter(None, (asked.system, text_of(block["text"], "system"))))
    more = body.get("additionalModelRequestFields") or {}
    asked.thinking = "thinking" in more or "reasoning_config" in more
    form = (body.get("outputConfig") or {}).get("textFormat")
    if form:
        need(form.get("type") == "json_schema", f"outputConfig.textFormat.type: {form.get('type')!r}")
        schema = form["structure"]["jsonSchema"]["schema"]
        need(isinstance(schema, str), "outputConfig.textFormat.structure.jsonSchema.schema: a string is expected")
        asked.schema = json.loads(schema)
    read_tools(body.get("toolConfig"), asked)
    read_messages(body.get("messages"), asked)
    return asked


def read_tools(config, asked):
    if config is None:
        return
    known(config, {"tools", "toolChoice"}, "toolConfig")
    need(config.get("tools"), "toolConfig.tools: at least one is expected")
    for n, tool in enumerate(config["tools"]):
        if "cachePoint" in tool:
            continue
        spec = known(known(tool, {"toolSpec"}, f"tools.{n}")["toolSpec"], {"name", "description", "inputSchema", "strict"}, f"tools.{n}.toolSpec")
        need(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", spec.get("name", "")), f"tools.{n}.name: {spec.get('name')!r}")
        need("description" not in spec or spec["description"], f"tools.{n}.description: at least one character")
        asked.tools[spec["name"]] = schema_of(known(spec.get("inputSchema"), {"json"}, f"tools.{n}.inputSchema").get("json"), f"tools.{n}.inputSchema.json")
    choice = config.get("toolChoice")
    if choice:
        kind, = known(choice, {"auto", "any", "tool"}, "toolChoice")
        asked.choice = {"auto": "auto", "any": "required"}.get(kind) or choice["tool"]["name"]


def read_messages(messages, asked):
    need(isinstance(messages, list) and messages, "messages: at least one is expected")
    open_calls, before = {}, "assistant"
    for n, message in enumerate(messages):
        where = f"messages.{n}"
        role = known(message, {"role", "content"}, where).get("role")
        need(role in ("user", "assistant"), f"{where}.role: {role!r}")
        need(role != before, f"{where}: roles must alternate between user and assistant")
        before = role
        need(isinstance(message.get("content"), list) and message["content"], f"{where}.content: The content field is empty")
        asked.turns.append(role)
        open_calls = read_blocks(message["content"], role, where, open_calls, asked)
    need(not open_calls, f"toolUse {sorted(open_calls)} without toolResult")
    need(not asked.calls or asked.tools, "The toolConfig field must be defined when using toolUse and toolResult content blocks.")


def read_blocks(blocks, role, where, open_calls, asked):
    texts, made = [], {}
    for block in blocks:
        kind, = known(block, BLOCKS, where)
        value = block[kind]
        if kind == "text":
            texts.append(text_of(value, f"{where}: The text field in the ContentBlock object is blank"))
        elif kind == "image":
            need(role == "user" and value.get("format") in ("png", "jpeg", "gif", "webp"), f"{where}.image.format: {value.get('format')!r}")
            asked.images.append((f"image/{value['format']}", bytes_of(known(value["source"], {"bytes", "s3Location"}, where).get("bytes"), where)))
        elif kind == "toolUse":
            known(value, {"toolUseId", "name", "input", "type"}, where)
            need(role == "assistant" and re.fullmatch(r"[a-zA-Z0-9_.:-]{1,64}", value.get("toolUseId", "")), f"{where}.toolUseId: {value.get('toolUseId')!r}")
            need(isinstance(value.get("input"), dict), f"{where}.toolUse.input: an object is expected")
            made[value["toolUseId"]] = value["name"]
            asked.calls.append((value["name"], value["input"]))
        elif kind == "toolResult":
            known(value, {"toolUseId", "content", "status", "type"}, where)
            need(role == "user" and value.get("toolUseId") in open_calls, f"{where}.toolResult.toolUseId: {value.get('toolUseId')!r}")
            said = [known(b, {"text", "json", "image", "document"}, where) for b in value.get("content") or []]
            need(said, f"{where}.toolResult.content is empty")
            asked.results[open_calls.pop(value["toolUseId"])] = "\n".join(b["text"] if "text" in b else str(b.get("json")) for b in said)
        elif kind == "reasoningContent":
            signature = known(value, {"reasoningText", "redactedContent"}, where).get("reasoningText", {}).get("signature")
            need(role == "assistant" and signature == "c2lnbmVkLWJ5LW1l", f"{where}: Invalid signature in thinking block: {signature!r:.80}")
            asked.signatures.append(signature)
    need(not open_calls, f"{where}: toolUse {sorted(open_calls)} without toolResult")
    if role == "user" and texts:
        asked.user = "\n".join(texts)
    return made


def usage(u):
    return {"inputTokens": u.input - u.cached, "outputTokens": u.output, "totalTokens": u.input + u.output, "cacheReadInputTokens": u.cached,
            "cacheWriteInputTokens": 0}


def shown(a):
    return a.text or "Sorry, that is blocked." if a.stop == "filter" else a.text


def answer(asked, a):
    content = [{"reasoningContent": {"reasoningText": {"text": a.thinking, "signature": a.signature}}}] if a.thinking else []
    content += [{"text": shown(a)}] if shown(a) else []
    content += [{"toolUse": {"toolUseId": c.id, "name": c.name, "input": c.arguments}} for c in a.calls]
    return {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": STOP[a.stop], "usage": usage(a.usage), "metrics": {"latencyMs": 12}}


def frame(payload, **headers):
    """One message of application/vnd.amazon.eventstream, its headers all strings."""
    head = b"".join(struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
                    for name, value in ((":" + n.replace("_", "-"), v) for n, v in headers.items()))
    body = dumps(payload)
    prelude = struct.pack("!II", 16 + len(head) + len(body), len(head))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + head + body
    return message + struct.pack("!I", zlib.crc32(message))


def event(type_, **fields):
    return frame({**fields, "p": "abcd"}, event_type=type_, content_type="application/json", message_type="event")


def events(asked, a, request):
    index = 0

    def block(index, start, deltas):
        if start:
            yield event("contentBlockStart", contentBlockIndex=index, start=start)
        for delta in deltas:
            yield event("contentBlockDelta", contentBlockIndex=index, delta=delta)
        if not (a.cut or a.error):
            yield event("contentBlockStop", contentBlockIndex=index)
    yield event("messageStart", role="assistant")
    if a.thinking:
        deltas = [{"reasoningContent": {"text": p}} for p in pieces(a.thinking)] + [{"reasoningContent": {"signature": a.signature}}]
        yield from block(0, None, deltas)
        index = 1
    if shown(a):
        yield from block(index, None, ({"text": p} for p in (iter(lambda: "on and on ", None) if a.forever else pieces(shown(a)))))
        index += 1
    for call in a.calls:
        yield from block(index, {"toolUse": {"toolUseId": call.id, "name": call.name}}, [{"toolUse": {"input": p}} for p in pieces(call.json)])
        index += 1
    if a.error:
        yield error_event(a.error)
    elif not a.cut:
        yield event("messageStop", stopReason=STOP[a.stop])
        yield event("metadata", usage=usage(a.usage), metrics={"latencyMs": 12})


def error(kind, message=None):
    status, name, text = ERRORS[kind]
    return status, {"message": message or text}, {"x-amzn-ErrorType": f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/"}


def error_event(kind):
    name = {"overloaded": "serviceUnavailableException", "rate_limit": "throttlingException"}[kind]
    return frame({"message": ERRORS[kind][2]}, exception_type=name, content_type="application/json", message_type="exception")
