"""What the public face has, and what it does not have yet."""

import dataclasses
import inspect
import subprocess
import sys

import pytest

import d_engine
from d_engine import AsyncRaft, LocalCluster, Peer, Raft

VERBS = [
    "propose",
    "propose_many",
    "query",
    "read",
    "read_barrier",
    "change",
    "transfer",
    "wait_ready",
    "changes",
    "snapshot",
    "status",
    "metrics",
    "close",
]
LATER = ["join", "demote", "promote"]


def test_all_is_there():
    for name in d_engine.__all__:
        assert getattr(d_engine, name) is not None, name
        assert name in dir(d_engine)
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = d_engine.Nonsense


@pytest.mark.parametrize("cls", [Raft, AsyncRaft])
def test_verbs(cls):
    for name in VERBS:
        assert callable(getattr(cls, name)), name
        assert inspect.getdoc(getattr(cls, name)), name
    for name in LATER:
        assert not hasattr(cls, name), name


def test_later_arguments_are_absent():
    for function in (Raft, AsyncRaft, LocalCluster):
        assert "core" not in inspect.signature(function).parameters, function
    fields = [field.name for field in dataclasses.fields(Peer)]
    assert fields == ["address", "role", "priority", "auto_promote", "client_address"]


def test_the_async_verbs_take_the_same_arguments():
    for name in VERBS:
        first = list(inspect.signature(getattr(Raft, name)).parameters.values())
        second = list(inspect.signature(getattr(AsyncRaft, name)).parameters.values())
        assert [str(parameter) for parameter in first] == [str(parameter) for parameter in second], name


def test_public_things_have_docstrings():
    missing = []
    for name in d_engine.__all__:
        value = getattr(d_engine, name)
        if not isinstance(value, type):
            continue
        if not value.__doc__:
            missing.append(name)
        for attribute, member in vars(value).items():
            if attribute.startswith("_") or not (callable(member) or isinstance(member, property)):
                continue
            if value.__module__.startswith("d_engine") and not inspect.getdoc(getattr(value, attribute)):
                missing.append(f"{name}.{attribute}")
    assert missing == []


@pytest.mark.process
def test_import_is_light():
    """Neither the native module nor what only tools need is loaded by `import d_engine`."""
    code = (
        "import sys, d_engine;"
        "print(*sorted(name for name in sys.modules"
        " if name in ('d_engine._core', 'sqlite3', 'click', 'rich', 'd_engine.cli', 'd_engine.demo')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
