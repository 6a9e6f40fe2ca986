"""Every Python block of the documentation runs, top to bottom, against the installed package."""

from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path.relative_to(ROOT) for path in [ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")])
WITHOUT_CODE = {"docs/index.md", "docs/reference.md"}
DOCUMENTS = Sybil([PythonCodeBlockParser(), SkipParser()], patterns=["*.md"], path=str(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_example_runs(page: Path) -> None:
    document = DOCUMENTS.parse(ROOT / page)
    examples = list(document.examples())
    assert bool(examples) != (str(page) in WITHOUT_CODE)
    for example in examples:
        example.evaluate()
