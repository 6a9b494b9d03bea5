# SPDX-License-Identifier: MIT
"""
Frames of AWS's event streams (application/vnd.amazon.eventstream), for scripted upstreams: frame() makes any, message()
and exception() the ones that Bedrock sends.
"""
import json
import struct
import zlib

CONTENT_TYPE = b"application/vnd.amazon.eventstream"


def field(name, value):
    """A field whose value is a text."""
    name, value = name.encode(), value.encode()
    return struct.pack(">B", len(name)) + name + struct.pack(">BH", 7, len(value)) + value


def frame(fields, payload):
    """The bytes of a frame; fields: (name, text) in order."""
    fields = b"".join(field(name, value) for name, value in fields)
    head = struct.pack(">II", 16 + len(fields) + len(payload), len(fields))
    head += struct.pack(">I", zlib.crc32(head))
    body = head + fields + payload
    return body + struct.pack(">I", zlib.crc32(body))


def message(kind, data):
    return frame([(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")],
                 json.dumps(data).encode())


def exception(kind, data):
    return frame([(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")],
                 json.dumps(data).encode())
