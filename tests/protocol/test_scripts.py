"""The scripts of this folder, on both cores. `pytest --rewrite tests/protocol` writes what is printed into the files."""

from pathlib import Path

import pytest

from d_engine.core import NativeCore
from d_engine.pure import Core
from support.script.player import Player
from support.script.text import blocks, join

HERE = Path(__file__).resolve().parent
SCRIPTS = sorted(HERE.glob("*.txt"))
CORES = {"native": NativeCore, "pure": Core}


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path, core, pytestconfig):
    found, tail = blocks(path.read_text())
    assert found, f"{path.name} says nothing"
    player, printed = Player(CORES[core]), []
    for block in found:
        try:
            said = player.play(block.commands)
        except Exception as error:
            error.add_note(f"{path.name}:{block.line}: {'; '.join(block.commands)}")
            raise
        printed.append(block._replace(expected=said))
        if not pytestconfig.getoption("rewrite"):
            assert said.splitlines() == block.expected.splitlines(), f"{path.name}:{block.line}"
    if pytestconfig.getoption("rewrite"):
        path.write_text(join(printed, tail))


def test_there_are_scripts():
    assert len(SCRIPTS) >= 30
