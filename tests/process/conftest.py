"""Measured facts, printed and, with full counts, kept for the report."""

from pathlib import Path

import pytest

REPORT = Path(__file__).resolve().parents[2] / "build" / "process-report.md"


@pytest.fixture
def note(request, full):
    """Prints a measured fact, and with full counts also adds it to build/process-report.md."""

    def write(text: str) -> None:
        line = f"- `{request.node.name}`: {text}"
        print("\n" + line)
        if full:
            REPORT.parent.mkdir(exist_ok=True)
            with REPORT.open("a") as file:
                file.write(line + "\n")

    return write
