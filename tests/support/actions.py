# SPDX-License-Identifier: MIT
"""
Actions for the scripts of support/upstream.py: the ways in which a provider answers, lies, stalls and dies.
Each function returns an action, that is a function of one Call.
"""
import struct
import socket

from . import wire

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 429: "Too Many Requests",
           500: "Internal Server Error", 503: "Service Unavailable"}


def head(status=200, headers=()):
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in (headers.items() if isinstance(headers, dict) else headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def finish(call, how):
    """how: keep (the connection), fin, rst, stall."""
    if how == "stall":
        call.stall()
    elif how != "keep":
        getattr(call, how)()


def answer(status=200, value=None, *, body=None, headers=(), content_type="application/json",
           delay=0, framing="length", end="keep", gate=None, one_by_one=False):
    """A whole answer. value: a JSON value (default: a completion, or an error body by status)."""
    if body is None:
        if value is None:
            value = wire.completion() if status < 400 else wire.error_body(f"status {status}")
        body = wire.dumps(value)
    fields = list(headers.items() if isinstance(headers, dict) else headers)
    if content_type:
        fields.append(("Content-Type", content_type))
    data = {"length": body, "close": body,
            "chunked": (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"}[framing]
    fields.append({"length": ("Content-Length", len(body)), "close": ("Connection", "close"),
                   "chunked": ("Transfer-Encoding", "chunked")}[framing])

    def act(call):
        if gate:
            call.wait(gate)
        call.sleep(delay)
        call.send(head(status, fields) + data, one_by_one)
        finish(call, "fin" if framing == "close" else end)
    return act


def ok(text="hello", **more):
    return answer(200, wire.completion(text), **more)


def fail(status, message=None, type="server_error", code=None, **more):
    return answer(status, wire.error_body(message or f"status {status}", type, code), **more)


def echo():
    """Answers with a completion whose content is the request's body."""
    def act(call):
        ok(call.request.body.decode())(call)
    return act


def stream(*items, end="clean", headers=(), delay=0, framing="chunked", one_by_one=False, status=200,
           content_type="text/event-stream"):
    """
    An event stream. Items: bytes (sent as one event), numbers (seconds to wait), events and semaphores
    (waited for), functions of the call. end: clean, keep_open (stall), fin, rst.
    """
    fields = list(headers.items() if isinstance(headers, dict) else headers) + [("Content-Type", content_type)]
    chunked = framing == "chunked"
    fields.append(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close"))

    def act(call):
        call.sleep(delay)
        call.send(head(status, fields))
        for item in items:
            if isinstance(item, (bytes, bytearray)):
                call.event(item, one_by_one, chunked)
            elif isinstance(item, (int, float)):
                call.sleep(item)
            elif callable(item):
                item(call)
            else:
                call.wait(item)
        if end == "clean":
            if chunked:
                call.send(b"0\r\n\r\n")
            else:
                call.fin()
        else:
            finish(call, "stall" if end == "keep_open" else end)
    return act


def talk(*texts, **more):
    """A complete, ordinary stream."""
    return stream(*wire.whole(*(texts or ("hello",))), **more)


def endless(every=0.01, text="tick", limit=100000):
    """A stream that never ends by itself."""
    def tick(call):
        for n in range(limit):
            call.event(wire.delta(f"{text}{n} "))
            call.sleep(every)
    return stream(wire.role(), tick)


def raw(data, end="fin", delay=0):
    """Bytes as they are."""
    def act(call):
        call.sleep(delay)
        call.send(data)
        finish(call, end)
    return act


def drip(data, every=0.05, end="keep"):
    """Bytes one at a time, slowly."""
    def act(call):
        for n in range(len(data)):
            call.send(data[n:n + 1])
            call.sleep(every)
        finish(call, end)
    return act


def silence():
    """Reads the request and never answers."""
    return lambda call: call.stall()


def hang_up(how="fin"):
    """Reads the request, then closes without a byte."""
    return raw(b"", how)


def close_unread(rst=True):
    """Closes a connection as soon as it is accepted, reading nothing."""
    def act(conn):
        if rst:
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    act.unread = True
    return act
