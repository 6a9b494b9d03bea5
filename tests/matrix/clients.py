# SPDX-License-Identifier: MIT
"""
One official Python SDK, unchanged, through all its cells: `clients.py NAME` reads { base, key, cells: [{ id, cell, model, case }] } from its standard input and
prints a line of JSON for each cell: what the SDK returned or raised, in neutral terms. It judges nothing: matrix.py does.
"""
import base64
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel

SCRIPT = json.loads((Path(__file__).parent / "cases.json").read_text())
SYSTEM, TOOLS, RESULTS = (SCRIPT[name] for name in ("system", "tools", "results"))
IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(n * 7 % 251 for n in range(20_000))
AT_ONCE = 4
PATIENCE = 60


class ResponseFailed(Exception):
    """The stream told by an event of its own that the response failed: the SDK passes it on."""


class Gate(BaseModel):
    name: str
    rooms: int


class Chat:
    """openai, chat completions."""

    def __init__(self, base, key):
        import openai
        self.sdk = openai.OpenAI(base_url=f"{base}/v1", api_key=key, timeout=PATIENCE)

    def request(self, model, case):
        content = case["question"]
        if case.get("image"):
            url = "data:image/png;base64," + base64.b64encode(IMAGE).decode()
            content = [{"type": "text", "text": case["question"]}, {"type": "image_url", "image_url": {"url": url}}]
        out = {"model": model, "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}], **case.get("options", {})}
        if case.get("tools"):
            out["tools"] = [{"type": "function", "function": {"name": t["name"], "description": t["description"], "parameters": t["schema"]}} for t in TOOLS]
        if case.get("choice"):
            out["tool_choice"] = {"type": "function", "function": {"name": case["choice"]}}
        if case.get("thinking"):
            out["reasoning_effort"] = "low"
        return out

    def whole(self, request, case):
        if case.get("structured"):
            return self.sdk.chat.completions.parse(**request, response_format=Gate)
        return self.sdk.chat.completions.create(**request)

    def stream(self, request, seen):
        with self.sdk.chat.completions.stream(**request, stream_options={"include_usage": True}) as stream:
            for event in stream:
                if event.type == "content.delta" and event.delta:
                    yield event.delta
                seen(event.type)
            self.final = stream.get_final_completion()

    def result(self, answer):
        choice, u = answer.choices[0], answer.usage
        message = choice.message
        out = {"text": message.content or "", "stop": choice.finish_reason, "refusal": message.refusal,
               "calls": [[c.function.name, json.loads(c.function.arguments)] for c in message.tool_calls or []]}
        if getattr(message, "parsed", None):
            out["parsed"] = message.parsed.model_dump()
        if u:
            out["usage"] = [u.prompt_tokens, u.completion_tokens, u.prompt_tokens_details and u.prompt_tokens_details.cached_tokens or 0,
                            u.completion_tokens_details and u.completion_tokens_details.reasoning_tokens or 0]
        return out

    def follow(self, request, answer):
        message = answer.choices[0].message
        request["messages"] += [message.model_dump(exclude_none=True, include={"role", "content", "tool_calls"})]
        for call in request["messages"][-1]["tool_calls"]:
            call["function"].pop("parsed_arguments", None)
            call.pop("index", None)
            request["messages"].append({"role": "tool", "tool_call_id": call["id"], "content": RESULTS[call["function"]["name"]]})


class Responses(Chat):
    """openai, responses."""

    def request(self, model, case):
        content = [{"type": "input_text", "text": case["question"]}]
        if case.get("image"):
            url = "data:image/png;base64," + base64.b64encode(IMAGE).decode()
            content.append({"type": "input_image", "image_url": url, "detail": "auto"})
        out = {"model": model, "instructions": SYSTEM, "input": [{"role": "user", "content": content}], "store": False}
        options = dict(case.get("options", {}))
        if "max_tokens" in options:
            options["max_output_tokens"] = options.pop("max_tokens")
        out.update(options)
        if case.get("tools"):
            out["tools"] = [{"type": "function", "name": t["name"], "description": t["description"], "parameters": t["schema"], "strict": True} for t in TOOLS]
        if case.get("choice"):
            out["tool_choice"] = {"type": "function", "name": case["choice"]}
        if case.get("thinking"):
            out.update(reasoning={"effort": "low", "summary": "auto"}, include=["reasoning.encrypted_content"])
        return out

    def whole(self, request, case):
        if case.get("structured"):
            return self.sdk.responses.parse(**request, text_format=Gate)
        return self.sdk.responses.create(**request)

    def stream(self, request, seen):
        with self.sdk.responses.stream(**request) as stream:
            number = -1
            for event in stream:
                if event.sequence_number != number + 1:
                    seen(f"sequence_number {event.sequence_number}")
                number += 1
                seen(event.type)
                if event.type == "response.output_text.delta":
                    yield event.delta
                elif event.type == "response.failed":
                    raise ResponseFailed(str(event.response.error))
            self.final = stream.get_final_response() if not seen.has("response.incomplete") else event.response

    def result(self, answer):
        u = answer.usage
        out = {"text": answer.output_text, "stop": answer.status if not answer.incomplete_details else answer.incomplete_details.reason,
               "calls": [[i.name, json.loads(i.arguments)] for i in answer.output if i.type == "function_call"],
               "thinking": "".join(s.text for i in answer.output if i.type == "reasoning" for s in i.summary),
               "usage": [u.input_tokens, u.output_tokens, u.input_tokens_details and u.input_tokens_details.cached_tokens or 0,
                         u.output_tokens_details and u.output_tokens_details.reasoning_tokens or 0]}
        if getattr(answer, "output_parsed", None):
            out["parsed"] = answer.output_parsed.model_dump()
        return out

    def follow(self, request, answer):
        for item in answer.output:
            request["input"].append({k: v for k, v in item.model_dump(exclude_none=True).items() if k != "parsed_arguments"})
        request["input"] += [{"type": "function_call_output", "call_id": i.call_id, "output": RESULTS[i.name]}
                             for i in answer.output if i.type == "function_call"]


class Anthropic:
    def __init__(self, base, key):
        import anthropic
        self.sdk = anthropic.Anthropic(base_url=base, api_key=key, timeout=PATIENCE)

    def request(self, model, case):
        content = [{"type": "text", "text": case["question"]}]
        if case.get("image"):
            source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(IMAGE).decode()}
            content.insert(0, {"type": "image", "source": source})
        out = {"model": model, "max_tokens": 4096, "system": SYSTEM, "messages": [{"role": "user", "content": content}]}
        options = dict(case.get("options", {}))
        if "stop" in options:
            options["stop_sequences"] = options.pop("stop")
        options.pop("temperature", None)    # API version 2026-10-21 has none
        out.update(options)
        if case.get("tools"):
            out["tools"] = [{"name": t["name"], "description": t["description"], "input_schema": t["schema"]} for t in TOOLS]
        if case.get("choice"):
            out["tool_choice"] = {"type": "tool", "name": case["choice"]}
        if case.get("thinking"):
            out["thinking"] = {"type": "enabled", "budget_tokens": 2048}
        return out

    def whole(self, request, case):
        if case.get("structured"):
            return self.sdk.messages.parse(**request, output_format=Gate)
        return self.sdk.messages.create(**request)

    def stream(self, request, seen):
        with self.sdk.messages.stream(**request) as stream:
            for event in stream:
                if event.type == "text":
                    yield event.text
                if event.type.startswith(("message_", "content_block_")):
                    seen(event.type)
            self.final = stream.get_final_message()

    def result(self, answer):
        u = answer.usage
        cached, written = u.cache_read_input_tokens or 0, u.cache_creation_input_tokens or 0
        out = {"text": "".join(b.text for b in answer.content if b.type == "text"), "stop": answer.stop_reason,
               "calls": [[b.name, b.input] for b in answer.content if b.type == "tool_use"],
               "thinking": "".join(b.thinking for b in answer.content if b.type == "thinking"),
               "usage": [u.input_tokens + cached + written, u.output_tokens, cached, u.output_tokens_details and u.output_tokens_details.thinking_tokens]}
        if getattr(answer, "parsed_output", None):
            out["parsed"] = answer.parsed_output.model_dump()
        return out

    def follow(self, request, answer):
        results = [{"type": "tool_result", "tool_use_id": b.id, "content": RESULTS[b.name]} for b in answer.content if b.type == "tool_use"]
        content = [b.model_dump(exclude_none=True, exclude={"parsed_output"}) for b in answer.content]
        request["messages"] += [{"role": "assistant", "content": content}, {"role": "user", "content": results}]


class Genai:
    def __init__(self, base, key):
        from google import genai
        self.types = genai.types
        self.sdk = genai.Client(api_key=key, http_options={"base_url": base, "timeout": PATIENCE * 1000})

    def request(self, model, case):
        types, parts = self.types, [self.types.Part.from_text(text=case["question"])]
        if case.get("image"):
            parts.append(types.Part.from_bytes(data=IMAGE, mime_type="image/png"))
        config = {"system_instruction": SYSTEM}
        names = {"max_tokens": "max_output_tokens", "stop": "stop_sequences"}
        config.update({names.get(n, n): v for n, v in case.get("options", {}).items()})
        if case.get("tools"):
            config["tools"] = [types.Tool(function_declarations=[self.declaration(t) for t in TOOLS])]
        if case.get("choice"):
            config["tool_config"] = {"function_calling_config": {"mode": "ANY", "allowed_function_names": [case["choice"]]}}
        if case.get("structured"):
            config.update(response_mime_type="application/json", response_schema=Gate)
        if case.get("thinking"):
            config["thinking_config"] = {"include_thoughts": True, "thinking_budget": 2048}
        return {"model": model, "contents": [types.Content(role="user", parts=parts)], "config": config}

    def declaration(self, tool):
        """In Gemini's own schema language, whose types are in capitals."""
        properties = {n: {k: v.upper() if k == "type" else v for k, v in p.items()} for n, p in tool["schema"]["properties"].items()}
        schema = self.types.Schema(type="OBJECT", properties=properties, required=tool["schema"]["required"])
        return self.types.FunctionDeclaration(name=tool["name"], description=tool["description"], parameters=schema)

    def whole(self, request, case):
        return self.sdk.models.generate_content(**request)

    def stream(self, request, seen):
        chunks = []
        for chunk in self.sdk.models.generate_content_stream(**request):
            chunks.append(chunk)
            seen("chunk")
            said = "".join(p.text for p in self.parts(chunk) if p.text and not p.thought)
            if said:
                yield said
        parts = [p for c in chunks for p in self.parts(c)]
        last = chunks[-1]
        if last.candidates:
            last.candidates[0].content = self.types.Content(role="model", parts=parts)
        self.final = last

    @staticmethod
    def parts(answer):
        candidate = answer.candidates[0] if answer.candidates else None
        return candidate.content.parts or [] if candidate and candidate.content else []

    def result(self, answer):
        u, parts = answer.usage_metadata, self.parts(answer)
        blocked = answer.prompt_feedback and answer.prompt_feedback.block_reason
        out = {"text": "".join(p.text for p in parts if p.text and not p.thought),
               "thinking": "".join(p.text for p in parts if p.text and p.thought),
               "stop": f"blocked: {blocked.value}" if blocked else answer.candidates[0].finish_reason.value,
               "calls": [[p.function_call.name, p.function_call.args] for p in parts if p.function_call]}
        if u:
            thoughts = u.thoughts_token_count or 0
            out["usage"] = [u.prompt_token_count, (u.candidates_token_count or 0) + thoughts, u.cached_content_token_count or 0, thoughts]
        if getattr(answer, "parsed", None):
            out["parsed"] = answer.parsed.model_dump()
        return out

    def follow(self, request, answer):
        calls = [p.function_call for p in self.parts(answer) if p.function_call]
        parts = [self.types.Part(function_response=self.types.FunctionResponse(id=c.id, name=c.name, response={"result": RESULTS[c.name]})) for c in calls]
        request["contents"] += [self.types.Content(role="model", parts=self.parts(answer)), self.types.Content(role="user", parts=parts)]


CLIENTS = {"chat": Chat, "responses": Responses, "anthropic": Anthropic, "genai": Genai}


class Seen(list):
    """The types of a stream's events in order, repetitions said once."""

    def __call__(self, name):
        if not self or self[-1] != name:
            self.append(name)

    def has(self, name):
        return name in self


def turn(client, request, case, out):
    """One question and its answer."""
    if not case.get("stream"):
        return client.whole(request, case)
    seen, client.final = Seen(), None
    out["deltas"], out["events"] = 0, seen
    for delta in client.stream(request, seen):
        out["partial"] = out.get("partial", "") + delta
        out["deltas"] += 1
        if case.get("abort"):
            return None
    return client.final


def raised(problem):
    """What a typed error of an SDK tells."""
    status = getattr(problem, "status_code", None) or getattr(problem, "code", None)
    return {"type": type(problem).__name__, "module": type(problem).__module__.split(".")[0], "status": status,
            "code": getattr(problem, "code", None), "kind": getattr(problem, "type", None) or getattr(problem, "status", None), "message": str(problem)[:600]}


def cell(make, model, case):
    out = {}
    try:
        client = make()
        request = client.request(model, case)
        answer = turn(client, request, case, out)
        if case.get("follow"):
            out["first"] = client.result(answer)
            out["first_events"] = out.pop("events", None)
            client.follow(request, answer)
            answer = turn(client, request, case, out)
        if answer is not None:
            out.update(client.result(answer))
    except Exception as problem:
        out["error"] = raised(problem)
    return out


def main():
    job = json.load(sys.stdin)
    name, cases = sys.argv[1], {case["name"]: case for case in SCRIPT["cases"]}
    first = CLIENTS[name](job["base"], job["key"])

    def make():     # the SDK's client is shared, what a cell keeps is not
        own = object.__new__(type(first))
        own.__dict__.update(first.__dict__)
        return own

    def asked(one):     # the question names the cell, for the provider's record
        return {**cases[one["case"]], "question": f"{SCRIPT['question']} [cell {one['cell']}]"}

    def run(one):
        started = time.monotonic()
        seen = cell(make, one["model"], asked(one))
        sys.stdout.write(json.dumps({"id": one["id"], "seen": seen, "seconds": round(time.monotonic() - started, 3)}) + "\n")
        sys.stdout.flush()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(run, job["cells"]))


if __name__ == "__main__":
    main()
