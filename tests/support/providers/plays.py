# SPDX-License-Identifier: MIT
"""
What the pretend providers answer, by the play that the model's name names: "PROVIDER--PLAY", with whatever behind it. A play checks what arrived, then says something that
depends on it, so that an answer tells that the question came through.
"""
import hashlib
import re

from . import anthropic, azure, bedrock, gemini, openai, responses
from .neutral import Answer, Bad, Call, Failure, Usage, dumps, need

TEXT = "A round opening in a garden wall, “月門”: the moon gate."
THOUGHT = "A gate, and a moon; the question is about gardens."
TOOLS = {"look": {"place", "depth"}, "count": {"what"}}
CALLS = [Call("call_one", "look", {"place": "the \"north\" wall", "depth": 2}), Call("call_two", "count", {"what": "stones ✓"})]
RESULTS = {"look": "moss and 3 doors", "count": "41"}
MODULES = (azure, responses, openai, anthropic, gemini, bedrock)


def basics(asked):
    need("Be brief." in asked.system, f"the system prompt did not arrive: {asked.system!r}")
    need(asked.user, "no text of the user arrived")


def text(asked):
    basics(asked)
    return Answer(TEXT, usage=Usage(12, 9, cached=4))


def sampling(asked):
    basics(asked)
    need(asked.limit == 321, f"the limit of tokens is {asked.limit!r}, not 321")
    may_lack = re.search(r"\[cell \w+-anthropic-", asked.user)     # its SDK has no such parameter any more
    need(asked.temperature == 0.5 or may_lack and asked.temperature is None, f"temperature is {asked.temperature!r}, not 0.5")
    return Answer("It was cut he", stop="length")


def stopping(asked):
    basics(asked)
    need(asked.stop == ["END"], f"stop sequences: {asked.stop!r}")
    return Answer("Up to here", stop="stop")


def tools_there(asked):
    basics(asked)
    need({n: set(s.get("properties", {})) for n, s in asked.tools.items()} == TOOLS, f"tools: {asked.tools!r:.300}")


def call(asked):
    tools_there(asked)
    return Answer(calls=CALLS[:1], stop="calls")


def forced(asked):
    tools_there(asked)
    need(asked.choice == "count", f"tool choice: {asked.choice!r}")
    return Answer(calls=CALLS[1:], stop="calls")


def conversation(asked, **more):
    """First two calls, then an answer made of their results."""
    tools_there(asked)
    if not asked.results:
        return Answer("Let me look.", calls=CALLS, stop="calls", **more)
    need(asked.calls == [(c.name, c.arguments) for c in CALLS], f"calls came back as {asked.calls!r}")
    # Some clients wrap a result into an object of their own making, which other dialects get as JSON.
    there = asked.results.keys() == RESULTS.keys() and all(RESULTS[name] in said for name, said in asked.results.items())
    need(there, f"results came as {asked.results!r}")
    return Answer(f"There are {RESULTS['look']}, and {RESULTS['count']} stones.")


def thinking(asked):
    basics(asked)
    need(asked.thinking, "thinking was not asked for")
    return Answer(TEXT, thinking=THOUGHT, usage=Usage(12, 29, reasoning=20))


def thinking_tools(asked):
    need(asked.thinking or asked.results, "thinking was not asked for")
    return conversation(asked, thinking=THOUGHT)


def image(asked):
    basics(asked)
    need(len(asked.images) == 1, f"{len(asked.images)} images arrived")
    kind, data = asked.images[0]
    need(kind == "image/png" and isinstance(data, bytes), f"the image arrived as {kind!r}, {data!r:.60}")
    return Answer(f"{len(data)} bytes, {hashlib.sha256(data).hexdigest()[:16]}")


def schema(asked):
    """Structured output: as a format of the text, or as a tool that must be called."""
    basics(asked)
    found, value = asked.schema, {"name": "moon \"gate\"", "rooms": 3}
    tool = None
    if found is None and len(asked.tools) == 1:
        (tool, found), = asked.tools.items()
        need(asked.choice in ("required", tool), f"a schema as a tool that need not be called: {asked.choice!r}")
    need(found and set(found.get("properties", {})) == {"name", "rooms"}, f"the schema did not arrive: {found!r}")
    if tool:
        return Answer(calls=[Call("call_json", tool, value)], stop="calls")
    return Answer(dumps(value).decode())


def forever(asked):
    return Answer("on and on ", forever=True)


def cut(asked):
    return Answer("half of it, ", cut=True)


def broken(asked):
    return Answer("half of it, ", error="overloaded")


def failing(kind, event=False):
    return lambda asked: Failure(kind, event)


PLAYS = {
    "text": text, "sampling": sampling, "stopping": stopping, "call": call, "forced": forced, "conversation": conversation, "thinking": thinking,
    "thinking_tools": thinking_tools, "image": image, "schema": schema, "forever": forever, "cut": cut, "broken": broken,
    "overloaded_event": failing("overloaded", event=True),
    **{kind: failing(kind) for kind in ("rate_limit", "overloaded", "credential", "context", "unknown_model", "bad_request", "content_filter")},
}


def dialect_of(request):
    found = next((m for m in MODULES if m.wants(request)), None)
    need(found, f"no provider answers {request.method} {request.path}")
    return found


def cell_of(request):
    """The cell that the question names, wherever it stands."""
    found = re.search(rb"\[cell ([\w-]+)\]", request.body)
    return found and found[1].decode()


def play_of(model):
    name = model.split("--")[1] if "--" in model else ""
    need(name in PLAYS, f"a model whose name tells no play: {model!r}")
    return PLAYS[name]


def answered(request):
    """The dialect, what was asked, and what is answered: an Answer, a Failure or a Bad."""
    try:
        dialect = dialect_of(request)
    except Bad as bad:
        return openai, None, bad
    try:
        asked = dialect.read(request)
        return dialect, asked, play_of(asked.model)(asked)
    except Bad as bad:
        return dialect, None, bad
