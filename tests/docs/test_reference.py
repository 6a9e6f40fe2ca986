"""The reference page misses nothing that is public."""

import re
from pathlib import Path

import d_engine
from d_engine import errors

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference.md").read_text()


def test_every_public_name_is_on_the_page() -> None:
    on_page = set(re.findall(r"autoclass:: (\w+)", PAGE)) | set(errors.__all__)
    assert set(d_engine.__all__) - on_page == {"__version__"}
    assert on_page - set(d_engine.__all__) == set()
