"""Three short made-up texts, the demo's default input (written by `examples/wordcount/make_texts.py`)."""

from importlib.resources import files
from pathlib import Path

NAMES = ("harbour", "lighthouse", "village")


def paths() -> list[Path]:
    """The texts' files, in a fixed order. The package is installed unpacked, so they are plain files."""
    return [Path(str(files(__name__).joinpath(f"{name}.txt"))) for name in NAMES]
