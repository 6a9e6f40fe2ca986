"""Where a report goes: the same for every benchmark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def save(output: Path, figures: dict[str, Any], text: Callable[[str], str]) -> None:
    """report.json and report.md; `text` is given what profile.md in the same place says (nothing, if it is not there)."""
    output.mkdir(parents=True, exist_ok=True)
    profile = output / "profile.md"
    (output / "report.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (output / "report.md").write_text(
        text(profile.read_text(encoding="utf-8") if profile.exists() else ""), encoding="utf-8"
    )
