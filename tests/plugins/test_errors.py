"""The hierarchy: who is what, what is retryable, pickling and copying."""

import copy
import pickle

import pytest

import d_engine
from d_engine import errors

TREE = {
    "ConfigError": ("DEngineError", ValueError),
    "PluginTypeError": ("DEngineError", TypeError),
    "ClosedError": ("DEngineError", None),
    "ForkError": ("DEngineError", None),
    "ProposalError": ("DEngineError", None),
    "NotAcceptedError": ("ProposalError", None),
    "NotLeaderError": ("NotAcceptedError", None),
    "OverloadedError": ("NotAcceptedError", None),
    "TooLargeError": ("NotAcceptedError", None),
    "OutcomeUnknownError": ("ProposalError", None),
    "DeadlineError": ("DEngineError", TimeoutError),
    "CommandError": ("DEngineError", None),
    "PluginError": ("DEngineError", None),
    "StorageError": ("DEngineError", None),
    "CorruptLogError": ("StorageError", None),
    "DirectoryLockedError": ("StorageError", None),
    "WrongClusterError": ("DEngineError", None),
    "WrongNodeError": ("DEngineError", None),
    "WipedMemberError": ("DEngineError", None),
    "InvalidMessageError": ("DEngineError", None),
    "SessionExpiredError": ("ProposalError", None),
    "ResultLostError": ("ProposalError", None),
    "CompactedError": ("DEngineError", None),
}
RETRYABLE = {"NotAcceptedError", "NotLeaderError", "OverloadedError", "DeadlineError", "DirectoryLockedError"}


def test_tree_is_complete():
    assert set(errors.__all__) == set(TREE) | {"DEngineError"}
    assert set(errors.__all__) <= set(d_engine.__all__)


@pytest.mark.parametrize("name", sorted(TREE))
def test_place_and_retryable(name):
    cls = getattr(d_engine, name)
    parent, builtin = TREE[name]
    assert issubclass(cls, getattr(d_engine, parent))
    assert builtin is None or issubclass(cls, builtin)
    assert cls.retryable is (name in RETRYABLE)


@pytest.mark.parametrize("name", sorted(errors.__all__))
def test_native_errors_pickle_and_copy(name):
    cause = ValueError("disk on fire")
    made = errors.from_native(
        name, "it broke", {"node": 2, "index": 17, "callback": "apply", "hint": "Try this"}, cause
    )
    assert type(made) is getattr(d_engine, name)
    assert made.__cause__ is cause
    for error in (made, pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
        assert type(error) is type(made)
        assert (error.node, error.index, error.callback, error.hint) == (2, 17, "apply", "Try this")
        assert error.results == []
        assert str(error) == "it broke (node 2, index 17, in apply). Try this"


def test_special_attributes_survive():
    error = errors.from_native("NotLeaderError", "no", {"leader_id": 3, "address": "h:1", "term": 9, "node": 1})
    twin = pickle.loads(pickle.dumps(error))
    assert (twin.leader_id, twin.address, twin.term) == (3, "h:1", 9)
    corrupt = errors.from_native("CorruptLogError", "bad", {"segment": "0001.log", "offset": 4096, "index": 5})
    twin = pickle.loads(pickle.dumps(corrupt))
    assert (twin.segment, twin.offset, twin.index) == ("0001.log", 4096, 5)
    many = errors.from_native("OutcomeUnknownError", "lost", {"results": [1, 2]})
    assert copy.copy(many).results == [1, 2]


def test_not_leader_made_by_hand():
    assert str(d_engine.NotLeaderError(None)) == "no leader is known"
    error = d_engine.NotLeaderError(2, "b:9082", 4)
    assert pickle.loads(pickle.dumps(error)).leader_id == 2
    assert "b:9082" in str(error)


def test_unknown_native_name_is_not_lost():
    error = errors.from_native("NewError", "what is this", {})
    assert type(error) is d_engine.DEngineError
    assert "NewError: what is this" in str(error)


class Funds(d_engine.CommandError):
    """A user's own, with an `__init__` of its own."""

    def __init__(self, account, missing):
        super().__init__(f"account {account} lacks {missing}")
        self.account, self.missing = account, missing


def test_users_command_errors():
    error = pickle.loads(pickle.dumps(Funds("a", 3)))
    assert (error.account, error.missing) == ("a", 3)
    assert str(error) == "account a lacks 3"
    assert not error.retryable
