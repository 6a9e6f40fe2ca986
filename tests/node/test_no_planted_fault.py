"""Planted faults, which the tests must find, are for builds with feature `mutants` alone."""

from pathlib import Path

from d_engine import _core
from support.mutants import mutants


def test_this_build_holds_no_planted_fault():
    binary = Path(_core.__file__).read_bytes()
    assert "mutants" not in _core.features()
    assert b"D_ENGINE_MUTANT" not in binary
    planted = [mutant.name for mutant in mutants()]
    assert len(planted) > 40
    if "debug" not in _core.features():  # an unoptimized build keeps the names of what it never asks for
        assert [name for name in planted if name.encode() in binary] == []
