# SPDX-License-Identifier: MIT
"""
A pretend provider as a program, for agent programs under test: `serve.py FILE`. It speaks every dialect, asks the agent to read FILE by the agent's own tool,
and answers with the word moon-… that the tool found there. Says where it listens, then a line of JSON for each request; ends with its standard input.
"""
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from support.providers import plays  # noqa: E402
from support.providers.neutral import Answer, Call  # noqa: E402
from support.providers.provider import provider  # noqa: E402

# How the agents call what reads a file, and what it takes.
READERS = {
    "Read": lambda path: {"file_path": path},
    "read": lambda path: {"filePath": path},
    "exec_command": lambda path: {"cmd": f"cat {path}"},
    "shell_command": lambda path: {"command": f"cat {path}"},
    "shell": lambda path: {"command": ["cat", path]},
}


def agent(path):
    """The play: what does not offer a tool that reads (titles, summaries) is answered with a word."""
    def play(asked):
        found = re.search(r"moon-[0-9a-f]+", " ".join(asked.results.values()))
        tool = next((name for name in READERS if name in asked.tools), None)
        if found:
            return Answer(f"The file says {found[0]}.")
        if tool and not asked.results:
            return Answer("Let me read it.", calls=[Call("call_read", tool, READERS[tool](path))], stop="calls")
        return Answer("Gardens")
    return play


def main():
    plays.PLAYS["agent"] = agent(sys.argv[1])

    def told(call, play):
        try:
            play(call)
        finally:
            asked = getattr(call, "asked", None)
            print(json.dumps({"path": call.request.target, "complaint": getattr(call, "complaint", None), "model": asked.model if asked else None,
                              "tools": sorted(asked.tools) if asked else [], "results": asked.results if asked else {}, "ended": call.ended,
                              "body": call.request.body.decode(errors="replace")[:4000] if getattr(call, "complaint", None) else None}), flush=True)
    up = provider(told)
    print(f"listening on {up.address}", flush=True)
    sys.stdin.read()
    up.stop()


if __name__ == "__main__":
    main()
