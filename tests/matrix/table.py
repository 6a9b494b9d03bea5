# SPDX-License-Identifier: MIT
"""The matrix as a table of clients and providers, for a terminal and as markdown."""
from cells import AIMOCK, CASES, PROVIDERS


def grouped(results):
    """{(client, provider): [(case's name, problem)]} of [(Cell, problem)], the clients in order."""
    clients, found = [], {}
    for cell, problem in results:
        if cell.client not in clients:
            clients.append(cell.client)
        found.setdefault((cell.client, cell.provider), []).append((cell.case["name"], problem))
    return clients, found


def score(outcomes):
    bad = [name for name, problem in outcomes if problem]
    good = f"{len(outcomes) - len(bad)}/{len(outcomes)}"
    return good if not bad else f"{good}: not {', '.join(bad)}"


def rows(results):
    clients, found = grouped(results)
    providers = [p for p in PROVIDERS if any((c, p) in found for c in clients)]
    head = ["client \\ provider", *[PROVIDERS[p][0] for p in providers]]
    return [head, *[[c.title, *[score(found.get((c, p), [])) if (c, p) in found else "" for p in providers]] for c in clients]]


def parts(results):
    """(heading, rows) of the scripted providers and of aimock, whichever there are."""
    for aimock, cases in ((False, [case["name"] for case in CASES]), (True, AIMOCK)):
        mine = [(cell, problem) for cell, problem in results if cell.aimock is aimock]
        if mine:
            yield f"{'@copilotkit/aimock as the provider' if aimock else 'Scripted, strict providers'}. Cases: {', '.join(cases)}.", rows(mine)


def text(results):
    """For a terminal: what failed stands below the table, so that it stays narrow."""
    out = []
    for heading, table in parts(results):
        lines = [[value.partition(":")[0] for value in row] for row in table]
        widths = [max(len(row[n]) for row in lines) for n in range(len(lines[0]))]
        out += [heading, *["  ".join(value.ljust(width) for value, width in zip(row, widths)).rstrip() for row in lines], ""]
    return "\n".join(out)


def markdown(results):
    out = []
    for heading, (head, *body) in parts(results):
        out += [heading, "", "| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *["| " + " | ".join(row) + " |" for row in body], ""]
    return "\n".join(out)
