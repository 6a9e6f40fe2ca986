"""The page of the two cores misses no record."""

import inspect
import re
from pathlib import Path

from d_engine import core

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "cores.md").read_text()


def test_every_record_is_on_the_page() -> None:
    on_page = {name.rsplit(".", 1)[-1] for name in re.findall(r"auto\w+:: ([\w.]+)", PAGE)}
    named = {
        name for name in core.__all__ if inspect.isroutine(getattr(core, name)) or inspect.isclass(getattr(core, name))
    }
    # Aliases of plain types look like classes, and say nothing by themselves.
    aliases = {name for name in named if getattr(core, name) in {int, str, tuple}}
    errors = {"ConfigurationError", "RecordError"}  # of what decodes bytes, which no face does
    assert on_page == named - aliases - errors
