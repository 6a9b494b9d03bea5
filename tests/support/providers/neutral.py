# SPDX-License-Identifier: MIT
"""What requests and answers are when no dialect is spoken: what the plays are written in, and the checks that several dialects share."""
import base64
import binascii
import json
import re
from dataclasses import dataclass, field

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Bad(Exception):
    """The request breaks a rule of the provider, which answers 400 in its own shape."""


@dataclass
class Asked:
    """What a request asks for, whoever wrote it."""
    model: str
    stream: bool = False
    system: str = ""
    user: str = ""                                 # the text of the last user turn that has some
    turns: list = field(default_factory=list)      # roles in order: user, assistant, tool
    images: list = field(default_factory=list)     # (media type, bytes or URL)
    tools: dict = field(default_factory=dict)      # name -> JSON schema
    choice: object = None                          # auto, none, required, or a tool's name
    calls: list = field(default_factory=list)      # (name, arguments) that the assistant made earlier
    results: dict = field(default_factory=dict)    # name of the tool -> text of its result
    schema: dict = None                            # what the answer has to look like
    thinking: bool = False
    shown: bool = True                             # … and its text is wanted
    signatures: list = field(default_factory=list)  # of earlier thinking, as they were sent back
    limit: int = None
    temperature: float = None
    stop: list = field(default_factory=list)


@dataclass
class Usage:
    """input and output are totals: cached is part of input, reasoning part of output."""
    input: int = 12
    output: int = 9
    cached: int = 0
    reasoning: int = 0


@dataclass
class Call:
    id: str
    name: str
    arguments: dict

    @property
    def json(self):
        return json.dumps(self.arguments, separators=(",", ":"))


@dataclass
class Answer:
    """stop: stop, length, calls, filter. cut: a stream's connection is cut after its text. error: an error event follows the text."""
    text: str = ""
    calls: list = field(default_factory=list)
    thinking: str = ""
    signature: str = "c2lnbmVkLWJ5LW1l"
    stop: str = "stop"
    usage: Usage = field(default_factory=Usage)
    cut: bool = False
    error: str = ""
    forever: bool = False


@dataclass
class Failure:
    """kind: rate_limit, overloaded, credential, context, unknown_model, bad_request, content_filter. event: in a stream, as its first event."""
    kind: str
    event: bool = False


def need(condition, message):
    if not condition:
        raise Bad(message)


def known(value, names, where):
    """value is an object that has these fields only."""
    need(isinstance(value, dict), f"{where}: an object is expected, not {value!r:.60}")
    for name in value:
        need(name in names, f"{where}: unknown field '{name}'")
    return value


def text_of(value, where, empty=False):
    need(isinstance(value, str) and (empty or value.strip()), f"{where}: text is expected, not {value!r:.60}")
    return value


def json_object(text, where):
    """Arguments of a call, which must be an object as JSON text."""
    try:
        value = json.loads(text_of(text, where))
    except ValueError:
        raise Bad(f"{where}: not JSON: {text!r:.80}") from None
    need(isinstance(value, dict), f"{where}: not an object: {text!r:.80}")
    return value


def schema_of(value, where):
    need(isinstance(value, dict) and value.get("type") == "object", f"{where}: a schema of type object is expected, not {value!r:.80}")
    return value


def bytes_of(text, where, urlsafe=False):
    try:
        if urlsafe:
            text = text.replace("-", "+").replace("_", "/")
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, AttributeError, ValueError):
        raise Bad(f"{where}: not base64: {text!r:.60}") from None


def data_url(url, where):
    """(media type, bytes) of a data URL, or (None, URL)."""
    text_of(url, where)
    found = re.fullmatch(r"data:([\w/+.-]+);base64,(.*)", url, re.S)
    if found:
        return found[1], bytes_of(found[2], where)
    need(url.startswith(("http://", "https://")), f"{where}: neither a data URL nor http: {url!r:.60}")
    return None, url


def between(value, low, high, where):
    need(value is None or isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high,
         f"{where}: {low} to {high} is expected, not {value!r}")
    return value


def strict_schema(schema, where):
    """OpenAI's rule for strict schemas: every object closes itself and requires all its properties."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            need(schema.get("additionalProperties") is False, f"{where}: additionalProperties must be false in a strict schema")
            need(set(schema.get("required", [])) == set(schema.get("properties", {})), f"{where}: all properties must be required in a strict schema")
        for name, value in schema.items():
            strict_schema(value, f"{where}.{name}")
    elif isinstance(schema, list):
        for value in schema:
            strict_schema(value, where)


def pieces(text, count=4):
    """A text in about so many pieces; nothing of it is lost."""
    step = max(1, -(-len(text) // count))
    return [text[at:at + step] for at in range(0, len(text), step)]


def dumps(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def sse(value, name=None):
    text = value.encode() if isinstance(value, str) else dumps(value)
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + text + b"\n\n"
