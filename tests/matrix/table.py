# SPDX-License-Identifier: MIT
"""The matrix as a table of clients and providers, for a terminal and as markdown."""
from cells import CASES, PROVIDERS


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


def legend():
    return "Cases: " + ", ".join(case["name"] for case in CASES) + "."


def text(results):
    """For a terminal: what failed stands below the table, so that it stays narrow."""
    lines = [[value.partition(":")[0] for value in row] for row in rows(results)]
    widths = [max(len(row[n]) for row in lines) for n in range(len(lines[0]))]
    out = ["  ".join(value.ljust(width) for value, width in zip(row, widths)).rstrip() for row in lines]
    return "\n".join([*out, "", legend()])


def markdown(results):
    head, *body = rows(results)
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in body]
    return "\n".join([*lines, "", legend(), ""])
