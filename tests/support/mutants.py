"""Planted faults in the pure core: one replacement of source text, made while the module is imported.

`D_ENGINE_PURE_MUTANT=NAME` chooses one of `tests/mutants/table.toml`. The native side has run-time switches (`D_ENGINE_MUTANT`, feature `mutants`).
"""

import importlib.abc
import importlib.machinery
import os
import sys
import tomllib
from pathlib import Path
from types import CodeType
from typing import NamedTuple

PACKAGE = "d_engine.pure"
TABLE = Path(__file__).resolve().parents[1] / "mutants" / "table.toml"


class Edit(NamedTuple):
    """One place in the pure package, named by its module below `d_engine.pure`."""

    module: str
    old: str
    new: str


class Mutant(NamedTuple):
    """One planted fault, as the table names it."""

    name: str
    number: int
    rule: str
    crates: tuple[str, ...]
    edits: tuple[Edit, ...]
    native_tests: str
    pure_tests: str
    why_there: str = ""


def mutants() -> list[Mutant]:
    """The whole table, in its order."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["mutant"]
    return [
        Mutant(
            row["name"],
            int(row["name"].split("-")[0]),
            row["rule"],
            tuple(row.get("crates", ())),
            tuple(Edit(edit["module"], edit["old"], edit["new"]) for edit in row.get("pure", ())),
            row.get("native_tests", f"class_{row['name'].split('-')[0]}"),
            row.get("pure_tests", f"class_{row['name'].split('-')[0]}"),
            row.get("why_there", ""),
        )
        for row in rows
    ]


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, edits: list[Edit]) -> None:
        super().__init__(fullname, path)
        self.edits = edits

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.get_filename(fullname)).decode()
        for edit in self.edits:
            if source.count(edit.old) != 1:
                raise ImportError(f"{fullname} holds {edit.old!r} {source.count(edit.old)} times, not once")
            source = source.replace(edit.old, edit.new)
        return self.source_to_code(source.encode(), self.get_filename(fullname))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, fullname, path=None, target=None):
        edits = [edit for edit in self.mutant.edits if f"{PACKAGE}.{edit.module}" == fullname]
        if not edits:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin, edits)
        return spec


def plant(mutant: Mutant) -> None:
    """Has the pure core imported with that fault; too late once it is imported."""
    if any(module.startswith(PACKAGE) for module in sys.modules):
        raise RuntimeError(f"{PACKAGE} is imported already: {mutant.name} cannot be planted")
    sys.meta_path.insert(0, _Finder(mutant))


def install_chosen() -> None:
    """Plants what the environment asks for; too late once the package is imported."""
    name = os.environ.get("D_ENGINE_PURE_MUTANT")
    if not name:
        return
    chosen = next((mutant for mutant in mutants() if mutant.name == name), None)
    if chosen is None or not chosen.edits:
        raise RuntimeError(f"no planted fault of the pure core is named {name}")
    plant(chosen)
