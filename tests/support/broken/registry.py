"""Deliberately broken plugins: each says which case must be the first to find it, and which others find it as well."""

import importlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Broken:
    """One fault.

    Attributes:
        name: what is wrong, in words.
        suite: the suite over the broken plugin.
        case: the case that has to be named first.
        also: cases whose promise it breaks as well.
    """

    name: str
    suite: type
    case: str
    also: frozenset

    def __str__(self):
        return self.name


class Registry:
    """All broken plugins of one suite."""

    def __init__(self, kind, suite_of):
        self._kind, self._suite_of = kind, suite_of
        self.all = []

    def load(self, *modules):
        """All of these modules, which register their faults when they are imported."""
        for module in modules:
            importlib.import_module(f"support.broken.{module}")
        return self.all

    def fails(self, case, *also):
        """Registers a broken plugin by the case that has to find it first."""

        def register(plugin):
            name = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in plugin.__name__).strip()
            self.all.append(
                Broken(
                    f"{self._kind}: {name}",
                    self._suite_of(plugin),
                    f"test_{case}",
                    frozenset(f"test_{one}" for one in also),
                )
            )
            return plugin

        return register
