# SPDX-License-Identifier: MIT
"""A pretend provider on a port: an Upstream (support/upstream.py) that answers every dialect by the plays."""
from ..actions import head
from ..upstream import Upstream
from . import plays
from .neutral import Answer, Bad, Failure, dumps

BETWEEN = 0.02      # seconds between the events of a stream that does not end by itself


def whole(call, status, value, more=()):
    body = dumps(value)
    fields = [("Content-Type", "application/json"), ("Content-Length", len(body)), *dict(more).items()]
    call.send(head(status, fields) + body)


def stream(call, dialect, events, gap=0, end=True):
    call.send(head(200, [("Content-Type", dialect.STREAM_TYPE), ("Transfer-Encoding", "chunked")]))
    for event in events:
        call.event(event)
        if gap:
            call.sleep(gap)
    if end:
        call.send(b"0\r\n\r\n")
    else:
        call.sleep(0.1)     # what was sent before has been read: an abrupt end may overtake it
        call.rst()


def fail(call, dialect, kind, message=None):
    status, value, *more = dialect.error(kind, message)
    whole(call, status, value, more[0] if more else {"retry-after": "7"} if kind == "rate_limit" else {})


def play(call):
    """The action of an Upstream's script. Leaves on the call what was asked (`asked`) and why it was refused (`complaint`)."""
    dialect, asked, result = plays.answered(call.request)
    call.asked = asked
    if isinstance(result, Failure) and result.kind == "content_filter" and dialect.FILTERS_IN_ANSWER:
        result = Answer(stop="filter")
    if isinstance(result, Bad):
        call.complaint = str(result)
        fail(call, dialect, "bad_request", f"refused by the pretend provider: {result}")
    elif isinstance(result, Failure) and not (result.event and asked.stream):
        fail(call, dialect, result.kind)
    elif isinstance(result, Failure):
        stream(call, dialect, [dialect.error_event(result.kind)])
    elif asked.stream:
        stream(call, dialect, dialect.events(asked, result, call.request), BETWEEN if result.forever else 0, not result.cut)
    else:
        whole(call, 200, dialect.answer(asked, result))


def provider(around=None):
    """around(call, play): what is done with each call, if more than playing it."""
    return Upstream((lambda call: around(call, play)) if around else play)
