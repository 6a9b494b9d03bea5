# SPDX-License-Identifier: MIT
"""Gemini's generateContent and streamGenerateContent."""
import re
from urllib.parse import unquote

from .neutral import Asked, between, bytes_of, known, need, pieces, sse, text_of

FIELDS = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "cachedContent", "labels"}
CONFIG = set("temperature topP topK candidateCount maxOutputTokens stopSequences responseMimeType responseSchema responseJsonSchema presencePenalty "
             "frequencyPenalty seed responseLogprobs logprobs responseModalities thinkingConfig speechConfig mediaResolution".split())
SCHEMA = set("type format title description nullable enum items maxItems minItems properties required minProperties maxProperties minLength maxLength "
             "pattern example anyOf propertyOrdering default minimum maximum".split())
DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse")
STOP = {"stop": "STOP", "length": "MAX_TOKENS", "calls": "STOP"}
ERRORS = {
    "rate_limit": (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    "overloaded": (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "credential": (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    "context": (400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
    "unknown_model": (404, "NOT_FOUND", "models/no-such-model is not found for API version v1beta, or is not supported for generateContent."),
    "bad_request": (400, "INVALID_ARGUMENT", "it is not good: bad shape"),
}
FILTERS_IN_ANSWER = True     # a filtered request is an answer


def wants(request):
    return re.search(r"/models/[^/]+:(generateContent|streamGenerateContent)$", request.path)


def camel(value, names=False):
    """A body with its fields' names in camel case: the API takes both spellings. What is the user's own (arguments, JSON schemas, properties' names) stays."""
    if isinstance(value, list):
        return [camel(v) for v in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for name, inner in value.items():
        new = name if names else re.sub(r"_([a-z])", lambda m: m[1].upper(), name)
        out[new] = inner if not names and new in ("args", "response", "parametersJsonSchema", "responseJsonSchema") else camel(inner, not names and new == "properties")
    return out


def read(request):
    need(request.header("x-goog-api-key") == "sk-gemini" and not request.header("authorization"), "x-goog-api-key is not the provider's")
    need(request.path.startswith(("/v1/models/", "/v1beta/models/")), f"no such path: {request.path}")
    model, method = re.search(r"/models/([^/]+):(\w+)$", request.path).groups()
    asked = Asked(unquote(model), method == "streamGenerateContent")
    need(not asked.stream or "alt=sse" in request.target, "a stream without alt=sse is a JSON list")
    body = known(camel(request.json()), FIELDS, "body")
    read_config(body.get("generationConfig") or {}, asked)
    system = body.get("systemInstruction")
    if system is not None:
        known(system, {"role", "parts"}, "systemInstruction")
        asked.system = "\n".join(text_of(known(p, {"text"}, "systemInstruction").get("text"), "systemInstruction") for p in system["parts"])
    read_tools(body, asked)
    read_contents(body.get("contents"), asked)
    return asked


def read_config(config, asked):
    known(config, CONFIG, "generationConfig")
    asked.limit = config.get("maxOutputTokens")
    need(asked.limit is None or isinstance(asked.limit, int) and asked.limit > 0, f"maxOutputTokens: {asked.limit!r}")
    asked.temperature = between(config.get("temperature"), 0, 2, "temperature")
    asked.stop = config.get("stopSequences") or []
    need(len(asked.stop) <= 5, "stopSequences: five at most")
    thinking = known(config.get("thinkingConfig") or {}, {"thinkingBudget", "includeThoughts", "thinkingLevel"}, "thinkingConfig")
    need(not ("thinkingBudget" in thinking and "thinkingLevel" in thinking), "thinkingBudget and thinkingLevel are not both allowed")
    asked.thinking = bool(thinking.get("includeThoughts") or thinking.get("thinkingBudget") or thinking.get("thinkingLevel"))
    asked.shown = bool(thinking.get("includeThoughts"))
    need(not ("responseSchema" in config and "responseJsonSchema" in config), "responseSchema and responseJsonSchema are not both allowed")
    asked.schema = config.get("responseJsonSchema") or config.get("responseSchema")
    if asked.schema is not None:
        need(config.get("responseMimeType") == "application/json", "a response schema needs responseMimeType application/json")
    if config.get("responseSchema"):
        plain_schema(asked.schema, "responseSchema")


def plain_schema(schema, where):
    """The part of JSON schema that Gemini's own Schema knows. Types come in capitals from its SDK; both are taken."""
    known(schema, SCHEMA, where)
    need(isinstance(schema.get("type", ""), str), f"{where}.type: {schema.get('type')!r}")
    for name, value in (schema.get("properties") or {}).items():
        plain_schema(value, f"{where}.{name}")
    for value in [schema["items"]] if "items" in schema else []:
        plain_schema(value, f"{where}.items")
    for value in schema.get("anyOf") or []:
        plain_schema(value, f"{where}.anyOf")


def read_tools(body, asked):
    for n, tool in enumerate(body.get("tools") or []):
        for f in known(tool, {"functionDeclarations"}, f"tools.{n}").get("functionDeclarations", []):
            where = f"tools.{n}.{f.get('name')}"
            known(f, {"name", "description", "parameters", "parametersJsonSchema", "response", "responseJsonSchema", "behavior"}, where)
            need(re.fullmatch(r"[a-zA-Z_][\w.:-]{0,63}", f.get("name", "")), f"{where}: invalid function name")
            need(not ("parameters" in f and "parametersJsonSchema" in f), f"{where}: parameters twice")
            if "parameters" in f:
                plain_schema(f["parameters"], where)
            asked.tools[f["name"]] = f.get("parametersJsonSchema") or f.get("parameters") or {}
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    known(calling, {"mode", "allowedFunctionNames"}, "functionCallingConfig")
    mode, names = calling.get("mode"), calling.get("allowedFunctionNames")
    need(mode in (None, "AUTO", "ANY", "NONE", "VALIDATED"), f"functionCallingConfig.mode: {mode!r}")
    need(names is None or mode in ("ANY", "VALIDATED") and set(names) <= set(asked.tools), f"allowedFunctionNames: {names!r}")
    asked.choice = names[0] if names else {None: None, "AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto"}[mode]


def read_contents(contents, asked):
    need(isinstance(contents, list) and contents, "contents is not specified")
    waiting = []
    for n, turn in enumerate(contents):
        where = f"contents.{n}"
        role = known(turn, {"role", "parts"}, where).get("role", "user")
        need(role in ("user", "model", "function"), f"{where}.role: Please use a valid role: user, model. ({role!r})")
        need(isinstance(turn.get("parts"), list) and turn["parts"], f"{where}.parts must not be empty")
        texts, calls, answers = read_parts(turn["parts"], role, where, asked)
        need(len(answers) == len(waiting), f"{where}: the number of function response parts must equal the number of function call parts: "
             f"{len(answers)} for {len(waiting)}")
        for call, response in zip(waiting, answers):
            need(call == response["name"], f"{where}: functionResponse.name: {response['name']!r} where {call!r} was called")
        need(not calls or n > 0, f"{where}: a function call comes after a user turn or a function response turn")
        waiting = calls
        asked.turns.append({"model": "assistant", "function": "tool", "user": "tool" if answers else "user"}[role])
        if role == "user" and texts:
            asked.user = "\n".join(texts)
    need(not waiting, "function calls without responses")


def read_parts(parts, role, where, asked):
    texts, calls, answers = [], [], []
    for part in parts:
        known(part, {*DATA, "thought", "thoughtSignature", "videoMetadata"}, where)
        kinds = [name for name in DATA if name in part]
        need(len(kinds) == 1 or not kinds and "thoughtSignature" in part, f"{where}: one data field is expected in a part: {sorted(part)}")
        if "thoughtSignature" in part:
            signature = part["thoughtSignature"].replace("-", "+").replace("_", "/")
            need(signature in ("c2lnbmVkLWJ5LW1l", "skip/thought/signature/validator"), f"{where}: Thought signature is not valid")
            asked.signatures.append(part["thoughtSignature"])
        if "text" in part:
            need(isinstance(part["text"], str), f"{where}.text")
            if not part.get("thought"):
                texts.append(part["text"])
        elif "inlineData" in part:
            data = known(part["inlineData"], {"mimeType", "data", "displayName"}, where)
            asked.images.append((text_of(data.get("mimeType"), where), bytes_of(data.get("data"), where, urlsafe=True)))
        elif "functionCall" in part:
            call = known(part["functionCall"], {"id", "name", "args"}, where)
            need(role == "model" and isinstance(call.get("args", {}), dict), f"{where}.functionCall: {call!r:.100}")
            calls.append(call["name"])
            asked.calls.append((call["name"], call.get("args", {})))
        elif "functionResponse" in part:
            response = known(part["functionResponse"], {"id", "name", "response", "parts", "willContinue", "scheduling"}, where)
            need(isinstance(response.get("response"), dict), f"{where}.functionResponse.response: an object is expected, not {response.get('response')!r:.60}")
            answers.append(response)
            asked.results[response.get("name")] = said(response["response"])
    return texts, calls, answers


def said(response):
    """The text of a function's response, which is an object."""
    for name in ("result", "output", "content", "error"):
        if set(response) == {name} and isinstance(response[name], str):
            return response[name]
    return repr(response)


def usage(u):
    out = {"promptTokenCount": u.input, "candidatesTokenCount": u.output - u.reasoning, "totalTokenCount": u.input + u.output}
    if u.cached:
        out["cachedContentTokenCount"] = u.cached
    if u.reasoning:
        out["thoughtsTokenCount"] = u.reasoning
    return out


def chunk(asked, parts, u, finish=None):
    candidate = {"content": {"role": "model", "parts": parts}, "index": 0, **({"finishReason": finish} if finish else {})}
    return {"candidates": [candidate], "usageMetadata": usage(u), "modelVersion": asked.model, "responseId": "resp_1"}


def blocked(asked, a):
    return {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": a.usage.input, "totalTokenCount": a.usage.input},
            "modelVersion": asked.model, "responseId": "resp_1"}


def call_parts(a):
    return [{"functionCall": {"name": c.name, "args": c.arguments}, **({"thoughtSignature": a.signature} if a.thinking and n == 0 else {})}
            for n, c in enumerate(a.calls)]


def answer(asked, a):
    if a.stop == "filter":
        return blocked(asked, a)
    parts = [{"text": a.thinking, "thought": True}] if a.thinking and asked.shown else []
    parts += ([{"text": a.text}] if a.text else []) + call_parts(a)
    return chunk(asked, parts, a.usage, STOP[a.stop])


def events(asked, a, request):
    if a.stop == "filter":
        yield sse(blocked(asked, a))
        return
    parts = [{"text": p, "thought": True} for p in pieces(a.thinking) if asked.shown] + [{"text": p} for p in pieces(a.text)] + call_parts(a)
    for n, part in enumerate(parts):
        last = n == len(parts) - 1 and not (a.cut or a.error or a.forever)
        yield sse(chunk(asked, [part], a.usage, STOP[a.stop] if last else None)).replace(b"\n", b"\r\n")
    while a.forever:
        yield sse(chunk(asked, [{"text": "on and on "}], a.usage))
    if a.error:
        yield error_event(a.error)


def error(kind, message=None):
    status, name, text = ERRORS[kind]
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}] if kind == "credential" else []
    return status, {"error": {"code": status, "message": message or text, "status": name, **({"details": details} if details else {})}}


def error_event(kind):
    return sse(error(kind)[1])


STREAM_TYPE = "text/event-stream"
