# SPDX-License-Identifier: MIT
"""
The dialects as tests of streams speak them: what a client asks and reads, and the events that a scripted provider says. One class for each dialect, all
with the same methods, and `Pair`: a client of one dialect before providers of another, or of the same.

As a provider: `opening` (no content yet), `piece`, `call` and `arguments`, `closing` (the reason to stop, usage, end marker; `last`: Anthropic's open block), `failure`.
As a client: `ask`, `text`, `calls`, `usage`, `ended` (a good end), `in_order` (the life cycle that its SDKs build on).
"""
import json
import re

from . import wire
from .client import Client


def sse(value, name=None, nl="\n"):
    data = value if isinstance(value, str) else wire.dumps(value).decode()
    return ((f"event: {name}{nl}" if name else "") + f"data: {data}{nl}{nl}").encode()


def values(events):
    """What the events hold, those left out that are no objects."""
    out = []
    for e in events:
        try:
            value = json.loads(e.data)
        except ValueError:
            continue
        if isinstance(value, dict):
            out.append(value)
    return out


class Openai:
    name, path = "openai", "/v1/*"
    MARK = wire.DONE
    OVERLOADED, LIMITED = ("server_error", None, 500), ("rate_limit_error", "rate_limit_exceeded", 429)

    def ask(self, stream=True, model="m", **more):
        if stream:
            more = {"stream_options": {"include_usage": True}, **more}
        return "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "hi"}], **({"stream": True} if stream else {}), **more}

    def opening(self, nl="\n"):
        return [wire.role(nl * 2)]

    def piece(self, text, nl="\n"):
        return wire.delta(text, nl * 2)

    def thought(self, text):
        return wire.chunk({"reasoning_content": text})

    def call(self, n, id, name):
        return [wire.chunk({"tool_calls": [{"index": n, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]})]

    def arguments(self, n, text):
        return wire.chunk({"tool_calls": [{"index": n, "function": {"arguments": text}}]})

    def closing(self, stop="stop", usage=(3, 5), nl="\n", marked=True, last=0):
        reason = {"calls": "tool_calls", "filter": "content_filter"}.get(stop, stop)
        return [wire.finish(reason, nl * 2), wire.usage(*usage, nl * 2)] + [f"data: [DONE]{nl}{nl}".encode()] * marked

    def failure(self, kind, message):
        type_, code, _ = kind
        return wire.error_event(message, type_, code)

    def body(self, text="plain", stop="stop"):
        return wire.completion(text, finish={"filter": "content_filter"}.get(stop, stop))

    def error_body(self, message):
        return wire.error_body(message, "invalid_request_error", "model_not_found")

    def text(self, events):
        return wire.text_of(events)

    def calls(self, events):
        """The calls as (name, the pieces of its arguments)."""
        out = {}
        for value in values(events):
            for choice in value.get("choices") or []:
                for piece in choice["delta"].get("tool_calls") or []:
                    call = out.setdefault(piece["index"], [None, []])
                    call[0] = call[0] or piece["function"].get("name")
                    if piece["function"].get("arguments"):
                        call[1].append(piece["function"]["arguments"])
        return [tuple(out[n]) for n in sorted(out)]

    def usage(self, events):
        return next(((u["prompt_tokens"], u["completion_tokens"]) for u in (v.get("usage") for v in reversed(values(events))) if u), None)

    def stop(self, value):
        """Why a whole answer stopped, in this dialect's words."""
        return value["choices"][0]["finish_reason"]

    def ended(self, events):
        return any(e.done for e in events)

    def in_order(self, events):
        """A role first and once, each finish_reason last of its choice, usage behind it without a choice, then the marker and nothing else."""
        said = values(events)
        assert events[-1].done and len(said) == len(events) - 1
        assert len({v["id"] for v in said}) == 1 and {v["object"] for v in said} == {"chat.completion.chunk"}
        choices = [v["choices"][0] for v in said if v["choices"]]
        assert ["role" in c["delta"] for c in choices] == [True] + [False] * (len(choices) - 1)
        assert [c["finish_reason"] is not None for c in choices] == [False] * (len(choices) - 1) + [True]
        assert [bool(v["choices"]) for v in said] == [True] * len(choices) + [False] and said[-1]["usage"]


class Anthropic:
    name, path = "anthropic", "/v1/*"
    MARK = sse({"type": "message_stop"}, "message_stop")
    OVERLOADED, LIMITED = ("overloaded_error", None, 529), ("rate_limit_error", None, 429)
    LIFE = re.compile(r"message_start( ping)*( content_block_start( content_block_delta| ping)* content_block_stop)* message_delta message_stop")

    def ask(self, stream=True, model="m", **more):
        return "/v1/messages", {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}], **({"stream": True} if stream else {}), **more}

    def event(self, type_, nl="\n", **fields):
        return sse({"type": type_, **fields}, type_, nl)

    def block(self, n, nl="\n", **block):
        return self.event("content_block_start", nl, index=n, content_block=block)

    def opening(self, nl="\n"):
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None, "stop_sequence": None,
                   "usage": {"input_tokens": 3, "output_tokens": 1}}
        return [self.event("message_start", nl, message=message), self.event("ping", nl), self.block(0, nl, type="text", text="")]

    def piece(self, text, nl="\n"):
        return self.event("content_block_delta", nl, index=0, delta={"type": "text_delta", "text": text})

    def thought(self, text):
        return self.event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": text})

    def call(self, n, id, name):
        return [self.event("content_block_stop", index=n), self.block(n + 1, type="tool_use", id=id, name=name, input={})]

    def arguments(self, n, text):
        return self.event("content_block_delta", index=n + 1, delta={"type": "input_json_delta", "partial_json": text})

    def closing(self, stop="stop", usage=(3, 5), nl="\n", marked=True, last=0):
        reason = {"stop": "end_turn", "calls": "tool_use", "filter": "refusal"}[stop]
        return [self.event("content_block_stop", nl, index=last),
                self.event("message_delta", nl, delta={"stop_reason": reason, "stop_sequence": None}, usage={"input_tokens": usage[0], "output_tokens": usage[1]}),
                *[self.event("message_stop", nl)] * marked]

    def failure(self, kind, message):
        return self.event("error", error={"type": kind[0], "message": message})

    def body(self, text="plain", stop="stop"):
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": text}] if text else [],
                "stop_reason": {"stop": "end_turn", "filter": "refusal"}[stop], "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 5}}

    def error_body(self, message):
        return {"type": "error", "error": {"type": "not_found_error", "message": message}}

    def text(self, events):
        return "".join(v["delta"].get("text", "") for v in values(events) if v.get("type") == "content_block_delta")

    def calls(self, events):
        out = {}
        for v in values(events):
            if v.get("type") == "content_block_start" and v["content_block"]["type"] == "tool_use":
                out[v["index"]] = (v["content_block"]["name"], [])
            elif v.get("type") == "content_block_delta" and v["delta"].get("partial_json"):
                out[v["index"]][1].append(v["delta"]["partial_json"])
        return [out[n] for n in sorted(out)]

    def usage(self, events):
        return next(((v["usage"].get("input_tokens"), v["usage"]["output_tokens"]) for v in values(events) if v.get("type") == "message_delta"), None)

    def stop(self, value):
        return value["stop_reason"]

    def ended(self, events):
        return any(v.get("type") == "message_stop" for v in values(events))

    def in_order(self, events):
        """One block open at a time, numbered from 0, its deltas its own; the reason to stop with the usage, then the end."""
        assert self.LIFE.fullmatch(" ".join(e.name for e in events)), [e.name for e in events]
        said = values(events)
        assert [v["type"] for v in said] == [e.name for e in events]
        starts = [v["index"] for v in said if v["type"] == "content_block_start"]
        assert starts == list(range(len(starts)))
        now = -1
        for v in said:
            now += v["type"] == "content_block_start"
            assert v.get("index", now) == now


class Responses:
    name, path = "responses", "/v1/*"
    MARK = sse({"type": "response.completed", "response": {}}, "response.completed")
    OVERLOADED, LIMITED = ("server_error", None, 500), ("rate_limit_error", "rate_limit_exceeded", 429)

    def ask(self, stream=True, model="m", **more):
        return "/v1/responses", {"model": model, "input": "hi", **({"stream": True} if stream else {}), **more}

    def event(self, type_, nl="\n", **fields):
        return sse({"type": type_, "sequence_number": 0, **fields}, type_, nl)

    def response(self, status="in_progress", usage=None, output=()):
        return {"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "m", "output": list(output),
                "usage": usage and {"input_tokens": usage[0], "output_tokens": usage[1], "total_tokens": sum(usage)}}

    def opening(self, nl="\n"):
        item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": []}
        return [self.event("response.created", nl, response=self.response()), self.event("response.in_progress", nl, response=self.response()),
                self.event("response.output_item.added", nl, output_index=0, item=item),
                self.event("response.content_part.added", nl, item_id="msg_1", output_index=0, content_index=0, part={"type": "output_text", "text": ""})]

    def thought(self, text):
        return self.event("response.reasoning_summary_text.delta", item_id="rs_1", output_index=0, summary_index=0, delta=text)

    def piece(self, text, nl="\n"):
        return self.event("response.output_text.delta", nl, item_id="msg_1", output_index=0, content_index=0, delta=text)

    def call(self, n, id, name):
        item = {"type": "function_call", "id": f"fc_{n}", "call_id": id, "name": name, "arguments": "", "status": "in_progress"}
        return [self.event("response.output_item.added", output_index=n + 1, item=item)]

    def arguments(self, n, text):
        return self.event("response.function_call_arguments.delta", item_id=f"fc_{n}", output_index=n + 1, delta=text)

    def closing(self, stop="stop", usage=(3, 5), nl="\n", marked=True, last=0):
        ended = self.ending(stop, usage)
        return [self.event(f"response.{ended['status']}", nl, response=ended)]

    def ending(self, stop, usage, output=()):
        if stop == "filter":
            return {**self.response("incomplete", usage, output), "incomplete_details": {"reason": "content_filter"}}
        return self.response("completed", usage, output)

    def failure(self, kind, message):
        return self.event("error", code=kind[1] or kind[0], message=message, param=None)

    def body(self, text="plain", stop="stop"):
        content = [{"type": "output_text", "text": text, "annotations": []}]
        item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
        return self.ending(stop, (3, 5), [item] if text else [])

    error_body = Openai.error_body

    def text(self, events):
        return "".join(v["delta"] for v in values(events) if v.get("type") == "response.output_text.delta")

    def calls(self, events):
        out = {}
        for v in values(events):
            if v.get("type") == "response.output_item.added" and v["item"]["type"] == "function_call":
                out[v["output_index"]] = (v["item"]["name"], [])
            elif v.get("type") == "response.function_call_arguments.delta":
                out[v["output_index"]][1].append(v["delta"])
        return [out[n] for n in sorted(out)]

    def usage(self, events):
        u = next((v["response"]["usage"] for v in values(events) if v.get("type") == "response.completed"), None)
        return u and (u["input_tokens"], u["output_tokens"])

    def stop(self, value):
        return (value["incomplete_details"] or {}).get("reason") or value["status"]

    def ended(self, events):
        return any(v.get("type") in ("response.completed", "response.incomplete") for v in values(events))

    def in_order(self, events):
        """Numbered without a gap; each item is added, grows, is done, in the order of its number; the end repeats them all."""
        said = values(events)
        assert [v["type"] for v in said] == [e.name for e in events]
        assert [v["sequence_number"] for v in said] == list(range(len(said)))
        assert [v["type"] for v in said[:2]] == ["response.created", "response.in_progress"] and said[-1]["type"] == "response.completed"
        added, done, parts = [], [], set()
        for v in said[2:-1]:
            kind, at = v["type"], v["output_index"]
            if kind == "response.output_item.added":
                assert at == len(added)
                added.append(v["item"]["id"])
                continue
            assert at < len(added) and at not in done, f"{kind} of an item that is not open"
            assert v.get("item_id", added[at]) == added[at]
            if kind == "response.output_item.done":
                assert v["item"]["id"] == added[at] and at not in {p[0] for p in parts}
                done.append(at)
            elif kind.endswith("part.added"):
                parts.add((at, v.get("content_index", v.get("summary_index"))))
            elif kind.endswith("part.done"):
                parts.remove((at, v.get("content_index", v.get("summary_index"))))
            elif "text" in kind:
                assert (at, v.get("content_index", v.get("summary_index"))) in parts
        assert sorted(done) == list(range(len(added)))
        assert [item["id"] for item in said[-1]["response"]["output"]] == added


class Gemini:
    name, path = "gemini", "/v1beta/*"
    MARK = b""
    OVERLOADED, LIMITED = ("UNAVAILABLE", None, 503), ("RESOURCE_EXHAUSTED", None, 429)
    WHOLE_CALLS = True      # a call comes in one piece

    def ask(self, stream=True, model="m", **more):
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/models/{model}:{method}", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], **more}

    def answer(self, parts, stop=None, usage=None):
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0, **({"finishReason": stop} if stop else {})}
        return {"candidates": [candidate], "modelVersion": "m", "responseId": "r1", **({"usageMetadata": {
            "promptTokenCount": usage[0], "candidatesTokenCount": usage[1], "totalTokenCount": sum(usage)}} if usage else {})}

    def opening(self, nl="\n"):
        return [sse(self.answer([]), nl=nl)]

    def piece(self, text, nl="\n"):
        return sse(self.answer([{"text": text}]), nl=nl)

    def whole_call(self, id, name, arguments):
        return sse(self.answer([{"functionCall": {"id": id, "name": name, "args": json.loads(arguments)}}]))

    def closing(self, stop="stop", usage=(3, 5), nl="\n", marked=True, last=0):
        return [sse(self.answer([], {"filter": "SAFETY"}.get(stop, "STOP"), usage), nl=nl)]

    def failure(self, kind, message):
        return sse({"error": {"code": kind[2], "message": message, "status": kind[0]}})

    def body(self, text="plain", stop="stop"):
        return self.answer([{"text": text}] if text else [], {"filter": "SAFETY"}.get(stop, "STOP"), (3, 5))

    def error_body(self, message):
        return {"error": {"code": 404, "message": message, "status": "NOT_FOUND"}}

    def parts(self, events):
        return [p for v in values(events) for c in v.get("candidates") or [] for p in (c.get("content") or {}).get("parts") or []]

    def text(self, events):
        return "".join(p.get("text", "") for p in self.parts(events) if not p.get("thought"))

    def calls(self, events):
        return [(p["functionCall"]["name"], [json.dumps(p["functionCall"]["args"])]) for p in self.parts(events) if "functionCall" in p]

    def usage(self, events):
        u = next((v["usageMetadata"] for v in reversed(values(events)) if v.get("usageMetadata")), None)
        return u and (u["promptTokenCount"], u["candidatesTokenCount"])

    def stop(self, value):
        return value["candidates"][0]["finishReason"]

    def ended(self, events):
        return any(c.get("finishReason") for v in values(events) for c in v.get("candidates") or [])

    def in_order(self, events):
        """Nothing but data; the reason to stop with the usage in the last event, and in no other."""
        assert all(re.fullmatch(rb"data: [^\n]*\n\n", bytes(e.raw)) for e in events)
        said = values(events)
        assert [bool(v["candidates"][0].get("finishReason")) for v in said] == [False] * (len(said) - 1) + [True]
        assert said[-1]["usageMetadata"] and len({v["responseId"] for v in said}) == 1


DIALECTS = {d.name: d for d in (Openai(), Anthropic(), Responses(), Gemini())}


class Pair:
    """A client's dialect and its providers'."""

    def __init__(self, client, provider):
        self.client, self.provider = DIALECTS[client], DIALECTS[provider]
        self.same = client == provider

    def __repr__(self):
        return self.client.name if self.same else f"{self.client.name}-over-{self.provider.name}"

    def gateway(self, lab, providers, settings=None, **more):
        options = {"dialect": self.provider.name, "speaks": [self.provider.name], **more.pop("options", {})}
        route = {"path": self.client.path, **more.pop("route", {})}
        if "text" in more:
            return lab.policy(providers, more.pop("text"), options=options, route=route, **more)
        return lab.failover(providers, settings, options=options, route=route, **more)

    def send(self, gw, stream=True, **more):
        """Sends a request; returns the client, its answer unread."""
        options = {name: more.pop(name) for name in ("rcvbuf",) if name in more}
        headers = more.pop("headers", ())
        target, body = self.client.ask(stream, **more)
        return Client(gw.address, **options).request("POST", target, headers, body)

    def call(self, gw, stream=True, **more):
        with self.send(gw, stream, **more) as c:
            return c.read()

    def read(self, gw, **more):
        """A stream to its end: the answer and its events."""
        with self.send(gw, **more) as c:
            answer = c.start()
            assert answer.status == 200 and answer.header("content-type").startswith("text/event-stream"), answer.rest().body
            return answer, answer.events()

    def whole(self, *texts, nl="\n", **closing):
        """The events of a provider's complete, ordinary stream."""
        p = self.provider
        return [*p.opening(nl), *[p.piece(t, nl) for t in texts], *p.closing(nl=nl, **closing)]
