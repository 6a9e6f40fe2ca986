"""Data directories that stay where a test failed, and counts that grow with D_ENGINE_FULL=1."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OUTCOME = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.when == "call":
        item.stash[OUTCOME] = report.passed
    return report


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty directory below build/failures, removed if the test passes: what is found there later is evidence."""
    path = ROOT / "build" / "failures" / request.node.name.replace("/", "_")
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    yield path
    if request.node.stash.get(OUTCOME, False):
        shutil.rmtree(path)


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether the counts are those of the report, not those for every day."""
    return os.environ.get("D_ENGINE_FULL") == "1"


@pytest.fixture
def note(request: pytest.FixtureRequest, full: bool) -> Callable[[str], None]:
    """Prints a measured fact, and with full counts also writes it to build/process-report.md."""

    def write(text: str) -> None:
        line = f"- {request.node.name}: {text}"
        print("\n" + line)
        if full:
            report = ROOT / "build" / "process-report.md"
            report.parent.mkdir(exist_ok=True)
            with report.open("a") as file:
                file.write(line + "\n")

    return write
