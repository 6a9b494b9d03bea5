# SPDX-License-Identifier: MIT
"""The OpenAI dialect as bytes: bodies and stream events that the pretend providers send."""
import json

DONE = b"data: [DONE]\n\n"


def dumps(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def completion(text="hello", model="m", usage=(3, 5), finish="stop", **message):
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model,
        "choices": [{"index": 0, "finish_reason": finish,
                     "message": {"role": "assistant", "content": text, **message}}],
        "usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1],
                  "total_tokens": sum(usage)},
    }


def error_body(message="it broke", type="server_error", code=None, param=None):
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def event(value, end="\n\n"):
    """One event of a stream; value is a dict (encoded) or ready text."""
    text = value if isinstance(value, str) else dumps(value).decode()
    return f"data: {text}{end}".encode()


def chunk(delta, finish=None, model="m", end="\n\n", **more):
    return event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model,
                  "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}, end)


def role(end="\n\n"):
    return chunk({"role": "assistant", "content": ""}, end=end)


def delta(text, end="\n\n"):
    return chunk({"content": text}, end=end)


def finish(reason="stop", end="\n\n"):
    return chunk({}, finish=reason, end=end)


def usage(prompt=3, output=5, end="\n\n", **details):
    return event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                  "choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": output,
                                           "total_tokens": prompt + output, **details}}, end)


def error_event(message="it broke", type="server_error", code=None):
    return event(error_body(message, type, code))


def whole(*texts):
    """The events of one complete, ordinary stream."""
    return [role(), *[delta(t) for t in texts], finish(), DONE]


def text_of(events):
    """All content that a list of stream events (as client.Event) carries, joined."""
    out = []
    for e in events:
        try:
            value = json.loads(e.data)
        except ValueError:
            continue
        for choice in value.get("choices") or []:
            out.append((choice.get("delta") or {}).get("content") or "")
    return "".join(out)
