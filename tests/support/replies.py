# SPDX-License-Identifier: MIT
"""Replies as moongate.sim takes them, done over real sockets by support/upstream.py."""
from . import actions, wire


def pieces(reply):
    """The pieces of content of a stream, cut as the simulator cuts them."""
    content, n = reply.get("content"), max(1, reply.get("events", 2))
    if isinstance(content, list):
        return content
    if content is None:
        return [f"word{i} " for i in range(1, n + 1)]
    size = max(1, (len(content) + n - 1) // n)
    return [content[i:i + size] for i in range(0, len(content), size)]


def error_of(reply, status):
    about = reply.get("error") or {}
    kind = "invalid_request_error" if status < 500 else "server_error"
    return wire.error_body(about.get("message") or f"status {status}", about.get("type") or kind, about.get("code"))


def stream(reply):
    """An event stream with whatever stops it."""
    event, cut, stall = reply.get("error_event"), reply.get("cut_after"), reply.get("stall_after")
    items, end, done = [wire.role()], "clean", False
    parts = [] if reply.get("no_content") else pieces(reply)
    wait = max(0, reply.get("first_token", 0) - reply.get("after", 0))
    for n in range(len(parts) + 1):
        items.append(wait if n == 0 else reply.get("gap", 0))
        if event is not None and n >= event.get("after", 0):
            items.append(wire.error_event(event["message"]))
            done = True
        elif cut is not None and n >= cut:
            end, done = "rst", True
            items.append(0.2)     # what was sent before has arrived: a reset may overtake it
        elif stall is not None and n >= stall:
            end, done = "keep_open", True
        elif n < len(parts):
            items.append(wire.delta(parts[n]))
        if done:
            break
    if not done:
        items += [wire.finish(), wire.DONE]
    return actions.stream(*items, end=end, delay=reply.get("after", 0))


def half(status, how):
    """The head and half of a body, then nothing more."""
    body = wire.dumps(wire.completion())
    head = actions.head(status, [("Content-Type", "application/json"), ("Content-Length", len(body))])
    return actions.raw(head + (body[:len(body) // 2] if how != "after" else b""), "fin")


def plain(reply):
    status = reply.get("status", 200)
    headers = {"Retry-After": str(reply["retry_after"])} if "retry_after" in reply else {}
    if "cut_after" in reply:
        return half(status, "cut")
    if reply.get("error_event"):
        value = wire.error_body(reply["error_event"]["message"])
    elif status >= 400:
        value = error_of(reply, status)
    else:
        value = wire.completion("" if reply.get("no_content") else "".join(pieces(reply)))
    return actions.answer(status, value, headers=headers, delay=reply.get("after", 0))


def action(reply):
    """A script's action for one reply: what it does depends on whether a stream is asked for."""
    reply = {"status": reply} if isinstance(reply, int) else reply
    if reply.get("never"):
        return actions.silence()
    if reply.get("stale") or reply.get("reset") == "before":
        return actions.hang_up()
    if reply.get("reset") == "after":
        return half(200, "after")

    def act(call):
        streams = call.request.json().get("stream") and reply.get("status", 200) < 300
        (stream(reply) if streams else plain(reply))(call)
    return act
