# SPDX-License-Identifier: MIT
"""What each SDK must have returned or raised for each case, whoever the provider was. `judge` tells what is wrong with one cell, or nothing."""
import hashlib
import re

from support.providers import plays

from clients import IMAGE

STOPS = {
    "chat": {"stop": "stop", "length": "length", "calls": "tool_calls", "filter": "content_filter"},
    "responses": {"stop": "completed", "length": "max_output_tokens", "calls": "completed", "filter": "content_filter"},
    "anthropic": {"stop": "end_turn|stop_sequence", "length": "max_tokens", "calls": "tool_use", "filter": "refusal"},
    "genai": {"stop": "STOP", "length": "MAX_TOKENS", "calls": "STOP", "filter": "blocked: .*|SAFETY|PROHIBITED_CONTENT"},
    "ai": {"stop": "stop", "length": "length", "calls": "tool-calls", "filter": "content-filter"},
}
# The SDK's own type for a status. Several names: one SDK is finer than the other.
TYPES = {
    429: {"openai": "RateLimitError", "anthropic": "RateLimitError"},
    400: {"openai": "BadRequestError", "anthropic": "BadRequestError"},
    404: {"openai": "NotFoundError", "anthropic": "NotFoundError"},
    500: {"openai": "InternalServerError", "anthropic": "InternalServerError"},
    502: {"openai": "InternalServerError", "anthropic": "InternalServerError"},
    503: {"openai": "InternalServerError", "anthropic": "InternalServerError|ServiceUnavailableError|OverloadedError"},
    529: {"openai": "InternalServerError", "anthropic": "InternalServerError|OverloadedError"},
}
STATUS = {"rate_limit": {429}, "overloaded": {503, 529}, "overloaded_event": {500, 503, 529}, "credential": {502}, "context": {400}, "unknown_model": {404},
          "bad_request": {400}, "content_filter": {400}}
CODES = {"rate_limit": "rate_limit_exceeded|rate_limit.*", "context": "context_length_exceeded", "unknown_model": "model_not_found"}
USAGE = {"text": [12, 9, 4, 0], "thinking": [12, 29, 0, 20]}
TEXTS = {
    "text": plays.TEXT, "sampling": "It was cut he", "stopping": "Up to here", "thinking": plays.TEXT,
    "conversation": "There are moss and 3 doors, and 41 stones.", "thinking_tools": "There are moss and 3 doors, and 41 stones.",
    "image": f"{len(IMAGE)} bytes, {hashlib.sha256(IMAGE).hexdigest()[:16]}",
}
CALLS = [[c.name, c.arguments] for c in plays.CALLS]
ANTHROPIC_EVENTS = re.compile(r"message_start( content_block_start( content_block_delta)? content_block_stop)* message_delta message_stop")
ITEM = (r"( response\.output_item\.added( response\.content_part\.added( response\.output_text\.delta)? response\.output_text\.done response\.content_part\.done"
        r"| response\.function_call_arguments\.delta( response\.output_item\.added response\.function_call_arguments\.delta)*"
        r"( response\.function_call_arguments\.done response\.output_item\.done)* response\.function_call_arguments\.done"
        r"| response\.reasoning_summary_part\.added( response\.reasoning_summary_text\.delta)? response\.reasoning_summary_text\.done "
        r"response\.reasoning_summary_part\.done)? response\.output_item\.done)*")
RESPONSES_EVENTS = re.compile(rf"response\.created response\.in_progress{ITEM} response\.(completed|incomplete)")
NO_REASONING_COUNT = ("bedrock",)               # providers that count thinking among the output only
THINKS_ALOUD = ("responses", "anthropic", "gemini", "bedrock")


def differs(name, seen, wanted):
    return None if seen == wanted else f"{name} is {seen!r:.300}, not {wanted!r:.300}"


def thinks_aloud(client, provider):
    """Both sides have a place for the thoughts' text."""
    return client.thoughts and (provider in THINKS_ALOUD or provider == "openai" and client.dialect == "responses")


def judge(cell, seen, calls):
    """
    What is wrong with a cell, or None. seen: what the client's program printed; calls: the provider's record of what was asked of it, which aimock has not.
    """
    client, provider, case = cell.client, cell.provider, cell.case
    if cell.aimock:
        untouched(client, provider, seen)
        return problem_of(seen) if seen.get("error") else judge_answer(client, provider, case, seen, cached=0)
    refused = [c.complaint for c in calls if getattr(c, "complaint", None)]
    if refused:
        return f"the provider refused: {refused[0]}"
    if not calls:
        return f"the provider was not asked; {problem_of(seen)}"
    play = case["play"]
    if play in STATUS:
        return judge_error(client, provider, play, seen)
    if play in ("cut", "broken"):
        return judge_cut(client, seen)
    if seen.get("error"):
        return problem_of(seen)
    if case.get("abort"):
        return None if seen.get("partial") and calls[-1].ended == "gone" else f"the provider's call ended as {calls[-1].ended!r}; {seen!r:.200}"
    return judge_answer(client, provider, case, seen) or judge_signatures(client, provider, case, calls)


def untouched(client, provider, seen):
    """Takes out of what was seen where aimock differs from its originals, in answers that come from it untouched."""
    if client.dialect == "responses" and provider in ("openai", "responses"):   # it does not number the events
        for name in {"events", "first_events"} & {n for n in seen if seen[n]}:
            kept = [e for e in seen[name] if not e.startswith("sequence_number")]
            seen[name] = [e for n, e in enumerate(kept) if n == 0 or e != kept[n - 1]]
    if client.dialect == "gemini" == provider:      # it ends calls with FUNCTION_CALL, which Gemini does not
        for part in (seen, seen.get("first", {})):
            if part.get("calls") and part.get("stop") in ("FUNCTION_CALL", "other"):
                part["stop"] = "STOP" if client.kind == "genai" else "tool-calls"


def problem_of(seen):
    e = seen.get("error")
    return f"{e['type']} {e['status']}: {e['message']}" if e else f"{seen!r:.300}"


def judge_error(client, provider, play, seen):
    e = seen.get("error")
    if not e:
        filtered = play == "content_filter" and re.fullmatch(STOPS[client.kind]["filter"], str(seen.get("stop")))
        return None if filtered else f"no error was raised: {seen!r:.300}"
    if e["status"] not in STATUS[play]:
        return f"status {e['status']}, not {sorted(STATUS[play])}: {problem_of(seen)}"
    wanted = client.error or TYPES[e["status"]][client.package]
    wanted = {"ClientError|ServerError": "ClientError" if e["status"] < 500 else "ServerError"}.get(wanted, wanted)
    if not re.fullmatch(wanted, e["type"]):
        return f"{e['type']} was raised, not {wanted}: {e['message']}"
    own_codes = provider == "azure" and client.dialect == "openai"     # untouched
    if client.package == "openai" and play in CODES and not own_codes and not re.fullmatch(CODES[play], str(e["code"])):
        return f"code {e['code']!r}, not {CODES[play]}: {e['message']}"
    return None if e["message"] else "an error without a message"


def judge_cut(client, seen):
    e = seen.get("error")
    if not e:
        return f"a stream that broke ended well: {seen!r:.300}"
    if not re.fullmatch(client.stream_error, e["type"]):
        return f"{e['type']} was raised, not {client.stream_error}: {e['message']}"
    return differs("what was seen before", (seen.get("partial") or "").strip(), "half of it,")


def judge_answer(client, provider, case, seen, cached=None):
    play = case["play"]
    checks = []
    if play == "schema":
        checks.append(differs("parsed", seen.get("parsed"), {"name": "moon \"gate\"", "rooms": 3}))
    elif play in TEXTS:
        checks.append(differs("text", seen.get("text"), TEXTS[play]))
    made = {"call": CALLS[:1], "forced": CALLS[1:]}.get(play, [])
    first = seen.get("first", {})
    checks += [differs("calls", seen.get("calls"), made)]
    if case.get("follow"):
        checks += [differs("first calls", first.get("calls"), CALLS), differs("first text", first.get("text"), "Let me look."),
                   stop_of(client, "calls", first)]
        checks.append(events_of(client, seen["first_events"]) if case.get("stream") else None)
    stop = {"sampling": "length"}.get(play, "calls" if made else "stop")
    checks.append(stop_of(client, stop, seen))
    if play in USAGE:
        wanted = list(USAGE[play])
        wanted[2] = wanted[2] if cached is None else cached
        wanted[3] = None if seen["usage"][3] is None else 0 if provider in NO_REASONING_COUNT else wanted[3]
        checks.append(differs("usage (input, output, cached, reasoning)", seen.get("usage"), wanted))
    if thinks_aloud(client, provider) and play == "thinking":
        checks.append(differs("thinking", seen.get("thinking"), plays.THOUGHT))
    if case.get("stream"):
        checks.append(events_of(client, seen["events"]))
        checks.append("the text came in one piece" if play == "text" and seen["deltas"] < 2 else None)
        checks.append(differs("the deltas' text", seen.get("partial"), seen.get("text")) if play == "text" else None)
    return next(filter(None, checks), None)


def stop_of(client, wanted, seen):
    wanted = STOPS[client.kind][wanted]
    return None if re.fullmatch(wanted, str(seen.get("stop"))) else f"stop is {seen.get('stop')!r}, not {wanted}"


def events_of(client, events):
    """The order of a stream's events, where the dialect has one."""
    order = {"anthropic": ANTHROPIC_EVENTS, "responses": RESPONSES_EVENTS}.get(client.kind)
    line = " ".join(events)
    return None if not order or order.fullmatch(line) else f"events came as: {line}"


def judge_signatures(client, provider, case, calls):
    """Signed thinking comes back to the provider that signed it, when the client has a place to carry it."""
    if case["play"] != "thinking_tools" or not thinks_aloud(client, provider):
        return None
    carried = calls[-1].asked.signatures
    return None if carried else "the signature of the thinking did not come back to the provider"
