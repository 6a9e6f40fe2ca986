"""The command `d-engine`. With the extra `cli` (click, rich) it has help and tables, without it plain text."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import doctor
from ._process import native
from .errors import DEngineError

if TYPE_CHECKING:
    from ._core import LogReport

__all__ = ["main"]

_USAGE = """usage: d-engine log inspect [--json] DIR    what a data directory holds; changes nothing
       d-engine log verify [--json] DIR     the same, with every checksum
       d-engine doctor DIR                  what this machine gives a node
For help texts and tables: pip install 'd-engine-core[cli]'"""


def main() -> None:
    """Runs the command line of this process and exits."""
    try:
        from ._click import group
    except ImportError:
        sys.exit(_plain(sys.argv[1:]))
    group(prog_name="d-engine")


def _plain(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    words = [word for word in arguments if word != "--json"]
    match words:
        case ["log", ("inspect" | "verify") as verb, directory]:
            return look(verb, directory, as_json=as_json)
        case ["doctor", *rest]:
            return doctor.main(rest)
        case _:
            print(_USAGE, file=sys.stderr)
            return 0 if words in (["-h"], ["--help"]) else 2


def look(verb: str, directory: str, *, as_json: bool) -> int:
    """Prints a report. 0: sound (a torn tail is), 1: damaged, 2: it cannot be read."""
    core = native()
    try:
        found: LogReport = core.log_inspect(directory) if verb == "inspect" else core.log_verify(directory)
    except (DEngineError, OSError) as error:
        print(f"{directory}: {error}", file=sys.stderr)
        return 2
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _show(verb, found)
    return 1 if found["damage"] is not None else 0


def _show(verb: str, found: LogReport) -> None:
    facts = [
        ("node", f"{found['node_id']} of cluster {found['cluster']!r} ({found['cluster_id']})"),
        ("incarnation", found["incarnation"]),
        ("hard state", f"term {found['term']}, vote {found['vote'] if found['vote'] is not None else '-'}"),
        ("log", f"{_position(found['purged'])} (purged) to {_position(found['last'])}"),
        ("synced through", f"batch {found['synced_through']}"),
    ]
    facts += [("term", f"{term}: {first} to {last}") for term, first, last in found["terms"]]
    facts += [("configuration", f"at {index}: {text}") for index, text in found["configurations"]]
    facts += [("snapshot", f"{index}@{term}, {size:,} bytes") for index, term, size in found["snapshots"]]
    for name, value in facts:
        print(f"{name:<15} {value}")
    rows = [
        (
            segment["name"],
            f"{segment['bytes']:,}",
            str(segment["epoch"]),
            "-" if segment["first"] is None else f"{segment['first']} to {segment['last']}",
            str(segment["batches"]),
            str(segment["entries"]),
        )
        for segment in found["segments"]
    ]
    _table(("segment", "bytes", "epoch", "entries", "batches", "count"), rows)
    if found["torn_tail"] is not None:
        name, offset, size = found["torn_tail"]
        print(
            f"torn tail: {name} at offset {offset}, {size:,} bytes that were never acknowledged; the next start cuts them"
        )
    if found["damage"] is not None:
        name, offset, index, what = found["damage"]
        where = "" if index is None else f", index {index}"
        print(f"DAMAGED: {name} at offset {offset}{where}: {what}")
        print("Durable data is lost on this node. Remove it from the cluster, or restore the directory from a copy.")
    elif verb == "verify":
        print("every checksum fits")


def _position(place: tuple[int, int]) -> str:
    return f"{place[0]}@{place[1]}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        for row in (head, *rows):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
