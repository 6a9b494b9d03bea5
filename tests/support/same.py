# SPDX-License-Identifier: MIT
"""
Scenarios that are played twice: in the simulator and over real sockets (e2e/test_simulator.py). Data only.

A scenario: providers (name -> replies as moongate.sim takes them, the last repeats), settings of the stock
policy (targets: NAME/NAME-model in order, unless named), stream, and n, how many requests one after another.
"""

TOO_LONG = {"status": 400, "error": {"message": "maximum context length is 8192 tokens",
                                     "type": "invalid_request_error", "code": "context_length_exceeded"}}
QUOTA = {"status": 429, "error": {"message": "You exceeded your current quota", "type": "insufficient_quota",
                                  "code": "insufficient_quota"}}
BAD_KEY = {"status": 400, "error": {"message": "API key not valid. Please pass a valid API key.",
                                    "type": "invalid_request_error", "code": None}}
FILTERED = {"status": 400, "error": {"message": "The response was filtered", "type": "invalid_request_error",
                                     "code": "content_filter"}}
BACKOFF = {"base": 0.01, "jitter": "none"}
REFUSE, NEVER = {"refuse": True}, {"never": True}


def one(*replies, **more):
    return {"providers": {"p": list(replies)}, **more}


def two(p, f=200, **more):
    return {"providers": {"p": p if isinstance(p, list) else [p], "f": f if isinstance(f, list) else [f]}, **more}


SAME = {
    # What a status means.
    "ok": one(200),
    "ok_stream": one({"events": 3, "content": "three words here"}, stream=True),
    **{f"status_{s}": two(s) for s in (400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 529)},
    **{f"status_{s}_stream": two(s, stream=True) for s in (400, 401, 429, 500)},
    "quota": two(QUOTA),
    "context": two(TOO_LONG, settings={"context_targets": ["f/large"], "targets": ["p/p-model"]}),
    "context_without_targets": two(TOO_LONG),
    "key_in_400": two(BAD_KEY),
    "filtered": two(FILTERED),

    # Connections.
    "refused": two(REFUSE),
    "refused_alone": one(REFUSE),
    "reset_before_head": two({"reset": "before"}),
    "reset_before_head_no_replay": two({"reset": "before"}, settings={"replay": False}),
    "reset_after_head": two({"reset": "after"}),
    "stale": one(200, {"stale": True}, 200, n=2),
    "stale_no_replay": one(200, {"stale": True}, 200, n=2, settings={"replay": False}),

    # Bodies and streams.
    "empty": two({"no_content": True}),
    "empty_stream": two({"no_content": True}, stream=True),
    "error_in_200": two({"error_event": {"message": "it broke"}}),
    "error_event_first": two({"error_event": {"message": "it broke"}}, stream=True),
    "error_event_later": two({"events": 4, "error_event": {"message": "it broke", "after": 2}}, stream=True),
    "cut_plain": two({"cut_after": 0}),
    "cut_before_content": two({"cut_after": 0}, stream=True),
    "cut_after_content": two({"events": 4, "cut_after": 2}, stream=True),
    "drip": one({"events": 5, "gap": 0.05, "first_token": 0.1}, stream=True),
    "stall_before_content": two({"stall_after": 0}, stream=True, settings={"first_packet_timeout": 1.5}),
    "stall_after_content": two({"events": 3, "stall_after": 2}, stream=True, settings={"idle_timeout": 1.5}),
    "never": two(NEVER, settings={"request_timeout": 1.5}),
    "never_stream": two(NEVER, stream=True, settings={"first_packet_timeout": 1.5}),
    "deadline": two(NEVER, NEVER, settings={"request_timeout": 5, "deadline": 0.6}),

    # Retries and what moves on.
    "retries": one(500, 503, 200, settings={"retries": 2, "backoff": BACKOFF}),
    "retries_used_up": one(500, settings={"retries": 2, "backoff": BACKOFF}),
    "retries_then_next": two([500], settings={"retries": 1, "backoff": BACKOFF}),
    "retry_on_leaves_out": two([500], settings={"retries": 3, "retry_on": [429], "backoff": BACKOFF}),
    "hint": one({"status": 429, "retry_after": 1}, 200, settings={"retries": 1}),
    "hint_too_long": one({"status": 429, "retry_after": 120}, 200, settings={"retries": 3}),
    "hint_unreadable": one({"status": 429, "retry_after": "soon"}, 200, settings={"retries": 1, "backoff": BACKOFF}),
    "trigger_list": two(500, settings={"trigger": [429]}),
    "trigger_any": two(422, settings={"trigger": "any"}),
    "max_attempts": {"providers": {"a": [500], "b": [503], "c": [200]}, "settings": {"max_attempts": 2}},
    "first_error": {"providers": {"a": [503], "b": [500]}, "settings": {"when_exhausted": "first_error"}},
    "own_answer": two(429, 500, settings={"when_exhausted": "unavailable"}),
    "switched_off": two(500, settings={"enabled": False}),
    "credential_last": {"providers": {"a": [500], "b": [401]}},

    # Memory.
    "suspend": two([500, 200], settings={"suspend": 60}, n=3),
    "suspend_all": two(500, 500, settings={"suspend": 60}, n=2),
    "suspend_try_anyway": two(500, 500, settings={"suspend": 60, "when_suspended": "try_anyway"}, n=2),
    "breaker": one(500, 500, 500, 200, settings={"breaker": {"failures": 3, "recovery": 60}}, n=5),
    "breaker_count_starts_again": one(500, 500, 200, 500, 500, settings={"breaker": {"failures": 3}}, n=5),
    "breaker_recovers": one(500, 200, settings={"breaker": {"failures": 1, "recovery": 0.3}}, n=3, pause=0.5),
    "rotation": {"providers": {"a": [200], "b": [500], "c": [200]}, "settings": {"order": "round_robin"}, "n": 6},
    "weights": two(200, 200, n=5, settings={"order": "weighted", "targets": [
        {"target": "p/x", "weight": 4}, {"target": "f/x", "weight": 1}]}),
    "group": {"providers": {"a": [500], "b": [500], "c": [200]}, "n": 2,
              "settings": {"targets": [{"order": "round_robin", "targets": ["a/m", "b/m"]}, "c/other"]}},
    "cheapest": two(500, 200, settings={"order": "cheapest", "targets": [
        {"target": "f/x", "cost": 2}, {"target": "p/x", "cost": 1}]}),
}
