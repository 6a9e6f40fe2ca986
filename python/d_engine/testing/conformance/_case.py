"""What a case is: a promise in its docstring, a body that looks whether it is kept, and a failure that says what to do."""

from __future__ import annotations

import shutil
import tempfile
import unittest
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["ConformanceError", "Report", "case", "cases", "equal", "fail", "holds", "refused", "run", "shown", "skip"]

_LONGEST = 300


class ConformanceError(AssertionError):
    """A promise that a plugin does not keep.

    Attributes:
        promise: what is promised, in the words of the case (str).
        expected: what should have come (str).
        came: what came (str).
        do: how it is usually mended (str).
    """

    def __init__(self, promise: str, expected: str, came: str, do: str) -> None:
        super().__init__(promise, expected, came, do)
        self.promise, self.expected, self.came, self.do = promise, expected, came, do

    def __str__(self) -> str:
        return f"{self.promise}\n  expected: {self.expected}\n  came:     {self.came}\n  do:       {self.do}"


class _UnkeptError(Exception):
    """Ends the body of a case: what was expected, and what came."""

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(expected, came)
        self.expected, self.came = expected, came


def case(do: str) -> Callable[[Callable[[Any, Any], None]], Callable[[Any, Path], None]]:
    """Makes a case of a method whose docstring is the promise and whose argument is the bench of its suite.

    Args:
        do: how a plugin that fails is usually mended.
    """

    def decorate(body: Callable[[Any, Any], None]) -> Callable[[Any, Path], None]:
        promise = " ".join((body.__doc__ or "").split())

        # pytest looks at the names of the arguments: `tmp_path` is its fixture, an empty directory.
        def method(self: Any, tmp_path: Path) -> None:
            __tracebackhide__ = True
            try:
                with self.bench(tmp_path) as bench:
                    body(self, bench)
            except _UnkeptError as unkept:
                raise ConformanceError(promise, unkept.expected, unkept.came, do) from unkept.__cause__
            except (unittest.SkipTest, NotImplementedError):
                raise
            except Exception as error:
                raise ConformanceError(promise, "no exception", shown(error), do) from error

        for name in ("__name__", "__qualname__", "__module__", "__doc__"):
            setattr(method, name, getattr(body, name))
        return method

    return decorate


def fail(expected: str, came: str, cause: BaseException | None = None) -> NoReturn:
    """Ends a case: the promise is not kept."""
    raise _UnkeptError(expected, came) from cause


def equal(what: str, came: object, expected: object) -> None:
    """`what` must have come out as expected."""
    if came != expected:
        fail(f"{what}: {shown(expected)}", shown(came))


def holds(condition: object, expected: str, came: str) -> None:
    """For what is no comparison."""
    if not condition:
        fail(expected, came)


def refused(what: str, call: Callable[[], object], kind: type[BaseException]) -> None:
    """`call` must raise an exception of that kind."""
    try:
        result = call()
    except kind:
        return
    except Exception as error:  # noqa: BLE001 (whatever a plugin raises is what came)
        fail(f"{what} raises {kind.__name__}", shown(error), error)
    fail(f"{what} raises {kind.__name__}", f"it returned {shown(result)}")


def skip(why: str) -> NoReturn:
    """The plugin does not offer what this case is about. pytest takes the standard library's exception for its own."""
    raise unittest.SkipTest(why)


def shown(value: object) -> str:
    """A value for a message: exceptions with their class, long things cut."""
    if isinstance(value, BaseException):
        text = f"{type(value).__name__}: {value}" if str(value) else type(value).__name__
        return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


def cases(suite: type) -> list[str]:
    """The names of its cases, in the order in which pytest runs them: those of base classes first."""
    found: dict[str, None] = {}
    for cls in reversed(suite.__mro__):
        for name, value in vars(cls).items():
            if name.startswith("test_") and callable(value):
                found.setdefault(name)
    return [name for name in found if callable(getattr(suite, name, None))]


@dataclass(frozen=True)
class Report:
    """What came of a suite, in the order of its cases.

    Attributes:
        passed: cases that the plugin passes (list of str).
        failed: cases that it fails, each with what went wrong (dict).
        skipped: cases about what it does not offer, each with the reason (dict).
    """

    passed: list[str] = field(default_factory=list[str])
    failed: dict[str, BaseException] = field(default_factory=dict[str, BaseException])
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def ok(self) -> bool:
        """Whether no case failed."""
        return not self.failed

    def __str__(self) -> str:
        counts = f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"
        return "\n".join([counts, *(f"{name}: {error}" for name, error in self.failed.items())])


def run(suite: type, directory: Path | None = None) -> Report:
    """Runs the cases of a suite without pytest: for scripts, and where something wants to know which cases fail.

    Args:
        suite: a class that derives from one of the suites and has its `make`.
        directory: where the cases put their files; None: a temporary one, removed at the end.
    """
    passed: list[str] = []
    failed: dict[str, BaseException] = {}
    skipped: dict[str, str] = {}
    with _directory(directory) as root:
        for name in cases(suite):
            place = root / name
            place.mkdir()
            try:
                getattr(suite(), name)(place)
            except unittest.SkipTest as reason:
                skipped[name] = str(reason)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is this case's result)
                failed[name] = error
            else:
                passed.append(name)
            shutil.rmtree(place, ignore_errors=True)
    return Report(passed, failed, skipped)


@contextmanager
def _directory(given: Path | None) -> Generator[Path]:
    with nullcontext(given) if given is not None else tempfile.TemporaryDirectory(prefix="d-engine-") as place:
        yield Path(place)
