"""What a run has reached: the table of role, kind of input and outcome; what was not reached, and why it cannot be."""

from collections import Counter

from support.lockstep.outcome import OUTCOMES, ROLES
from support.lockstep.unreachable import why_not

ENOUGH = 1_000
DRIVER = "driver: "
IDLE = 0.30


def merged(tallies):
    cells, steps, idle = Counter(), 0, 0
    for tally in tallies:
        cells.update(tally.cells)
        steps += tally.steps
        idle += tally.idle
    return cells, steps, idle


def rows(cells, *, drivers=False):
    """Kinds of input, and for each role the counts by outcome: of the cores, or of the drivers."""
    kinds = sorted({kind for role, kind, _ in cells if role in ROLES})
    for kind in kinds:
        if kind.startswith(DRIVER) is not drivers:
            continue
        for role in ROLES:
            yield kind, role, [cells[role, kind, name] for name in OUTCOMES]


def gaps(cells):
    """Cells that were reached too seldom, those that were never and nobody says why, and the reasons of the others."""
    seldom, unexplained, reasons = [], [], {}
    for kind, role, counts in rows(cells):
        for name, count in zip(OUTCOMES, counts, strict=True):
            if count >= ENOUGH:
                continue
            reason = why_not(role, kind, name)
            if count == 0 and reason is not None:
                reasons.setdefault(reason, []).append((role, kind, name))
            elif count == 0:
                unexplained.append((role, kind, name))
            else:
                seldom.append((role, kind, name, count))
    return seldom, unexplained, reasons


def table(cells, *, drivers=False):
    lines = [f"| input | role | {' | '.join(OUTCOMES)} |", f"| --- | --- |{' ---: |' * len(OUTCOMES)}"]
    shown = None
    for kind, role, counts in rows(cells, drivers=drivers):
        lines.append(
            f"| {kind if kind != shown else ''} | {role} | {' | '.join(str(count or '–') for count in counts)} |"
        )
        shown = kind
    return lines


def report(tallies, wrong, seconds, how):
    cells, steps, idle = merged(tallies)
    seldom, unexplained, reasons = gaps(cells)
    share = idle / steps if steps else 0.0
    often = sum(1 for count in cells.values() if count >= ENOUGH)
    lines = [
        "# Lock step",
        "",
        "The native core and the pure one, stepped with the same inputs; effects, deadline and digest are compared after every step.",
        "",
        f"- {how}",
        f"- steps compared: {steps:,} in {seconds:,.0f} s ({steps / max(seconds, 1e-9):,.0f}/s)",
        f"- differences: {len(wrong)}",
        f"- heartbeats, their answers and timers of which nothing else came: {share:.1%} (at most {IDLE:.0%} wanted)",
        f"- cells reached: {sum(1 for count in cells.values() if count)}, at least {ENOUGH:,} times: {often}",
        "",
        "Outcomes of a step, the first that fits: "
        + "; ".join(f"*{name}*: {what}" for name, what in OUTCOMES.items())
        + ".",
        "",
        "## Cores",
        "",
        *table(cells),
        "",
    ]
    if seldom:
        lines += [f"## Reached, but fewer than {ENOUGH:,} times", ""]
        lines += [f"- {role}, {kind}, {name}: {count}" for role, kind, name, count in seldom] + [""]
    if unexplained:
        lines += ["## Never reached, without a reason", ""]
        lines += [f"- {role}, {kind}, {name}" for role, kind, name in unexplained] + [""]
    lines += ["## Never reached, and why", ""]
    for reason, where in sorted(reasons.items()):
        lines.append(f"- {reason}: {grouped(where)}")
    lines += ["", "## Drivers, each around a core of its own kind", "", *table(cells, drivers=True)]
    return "\n".join(lines) + "\n"


def grouped(where):
    """`Kind (role, role; outcome)` for many cells in one line."""
    found = {}
    for role, kind, name in where:
        found.setdefault(kind, {}).setdefault(name, []).append(role)
    parts = []
    for kind, outcomes in found.items():
        inner = "; ".join(
            f"{name}: {'all' if len(roles) == len(ROLES) else ', '.join(roles)}" for name, roles in outcomes.items()
        )
        parts.append(f"{kind} ({inner})")
    return ", ".join(parts)
