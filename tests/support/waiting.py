# SPDX-License-Identifier: MIT
"""Waiting on conditions instead of sleeping."""
import select
import time

PATIENCE = 90.0  # seconds; only what never comes costs them, so they outlast any stall of a noisy machine


def wait_until(condition, what="the condition", deadline=PATIENCE, pause=0.01):
    """Returns the first true value of condition(); fails after deadline seconds."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline:g} s in vain for {what}")
        time.sleep(pause)


def wait_steady(measure, quiet=0.5, deadline=PATIENCE):
    """Returns measure() once it has not changed for `quiet` seconds."""
    last, since, end = measure(), time.monotonic(), time.monotonic() + deadline
    while time.monotonic() - since < quiet:
        if time.monotonic() > end:
            raise AssertionError(f"still changing after {deadline:g} s: {last}")
        time.sleep(0.02)
        now = measure()
        if now != last:
            last, since = now, time.monotonic()
    return last


def fill_queue(gateway, **fields):
    """
    For a provider with one slot, which is taken, and a queue of one place: puts a request into the queue
    and returns its client, and the answer of another that found the queue full.
    """
    def attempt():
        queued = gateway.open_chat(stream=False, **fields)
        with gateway.open_chat(stream=False) as other:
            ready = select.select([queued.sock, other.sock], [], [], 1.0)[0]
            if ready == [other.sock]:
                return queued, other.read()
        queued.close()
        return None
    return wait_until(attempt, "one request to be queued and another to be refused")
