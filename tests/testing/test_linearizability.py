"""The check of histories: verdicts, models in Python, and what a violation says."""

import copy
import operator
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import pytest

from d_engine.testing import UNKNOWN, History, Operation, check_linearizable


def one_by_one(*calls):
    """Calls of one client, each with its result."""
    return [Operation("a", call, result, 2 * at, 2 * at + 1) for at, (call, result) in enumerate(calls)]


def lost(call, invoked, client="lost"):
    return Operation(client, call, None, invoked, None, unknown=True)


# --- verdicts of the built-in models ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["register", "cas-register"])
def test_a_register(name):
    right = [
        (("read",), None),
        (("write", "x"), None),
        (("swap", 2), "x"),
        (("cas", 2, 3), True),
        (("cas", 2, 4), False),
    ]
    assert check_linearizable(one_by_one(*right, (("read",), 3)), name)
    assert not check_linearizable(one_by_one(*right, (("read",), 4)), name)
    assert check_linearizable(one_by_one(("read", 7)), name, initial=7), "a name alone is a call without arguments"


@pytest.mark.parametrize("name", ["map", "kv"])
def test_a_map(name):
    right = [
        (("write", "k", 1), None),
        (("write", "other", b"x"), None),
        (("append", "other", b"y"), None),
        (("cas", "k", 1, 2), True),
        (("read", "other"), b"xy"),
        (("delete", "k"), True),
    ]
    assert check_linearizable(one_by_one(*right, (("get", "k"), None)), name)
    assert not check_linearizable(one_by_one(*right, (("get", "k"), 2)), name)
    assert check_linearizable(one_by_one((("get", "k"), ""), (("append", "k", "z"), None)), name, initial="")


def test_a_counter():
    right = [(("add", 5), None), (("increment",), 6), (("decrement", 2), 4)]
    assert check_linearizable(one_by_one(*right, (("read",), 4)), "counter")
    assert not check_linearizable(one_by_one(*right, (("read",), 5)), "counter")
    assert check_linearizable(one_by_one((("read",), 10), (("add", 1), 11)), "counter", initial=10)


def test_an_append_list():
    right = [(("append", "x"), None), (("append", [1]), 2)]
    assert check_linearizable(one_by_one(*right, (("read",), ["x", [1]])), "append-list")
    assert not check_linearizable(one_by_one(*right, (("read",), [[1], "x"])), "append-list")


def test_a_queue():
    right = [(("enqueue", 1), None), (("enqueue", 2), None), (("dequeue",), 1)]
    assert check_linearizable(one_by_one(*right, (("dequeue",), 2), (("dequeue",), None)), "queue")
    assert not check_linearizable(one_by_one(*right, (("dequeue",), 1)), "queue")


def test_a_set():
    right = [(("add", "x"), True), (("add", "y"), None), (("remove", "x"), True), (("contains", "x"), False)]
    for members in [{"y"}, ["y"], frozenset("y")]:
        assert check_linearizable(one_by_one(*right, (("read",), members)), "set")
    assert not check_linearizable(one_by_one(*right, (("read",), {"x", "y"})), "set")


@pytest.mark.parametrize("name", ["lock", "mutex"])
def test_a_lock(name):
    taken = [(("acquire", "me"), None), (("acquire", "you"), False)]
    assert check_linearizable(one_by_one(*taken, (("release", "me"), True), (("acquire", "you"), True)), name)
    assert not check_linearizable(one_by_one(*taken, (("acquire", "you"), True)), name)
    assert not check_linearizable(one_by_one((("acquire",), True), (("acquire",), True)), name)


def test_values_are_compared_as_python_compares_them():
    equal = [(1, 1.0), (1, True), (0, False), (2.5, 2.5), ("x", "x"), (b"x", bytearray(b"x")), ([1, "x"], (1.0, "x"))]
    equal += [({"a": 1}, {"a": True}), ({1, 2}, frozenset({2, 1})), (2**80, 2**80), (None, None)]
    for written, read in equal:
        assert check_linearizable(one_by_one((("write", written), None), (("read",), read)), "register"), (
            written,
            read,
        )
    for written, read in [
        (1, "1"),
        ("x", b"x"),
        ({"a": 1}, {"a": 2}),
        (2**80, 2**80 + 1),
        (0, None),
        (float("nan"), 0),
    ]:
        assert not check_linearizable(one_by_one((("write", written), None), (("read",), read)), "register"), (
            written,
            read,
        )


def test_times_that_are_equal_overlap():
    early, late = Operation(1, ("write", 1), None, 0, 10), Operation(2, ("read",), None, 10, 20)
    assert check_linearizable([late, early], "register"), "in any order, as they are given"
    assert not check_linearizable([early, Operation(2, ("read",), None, 10.5, 20)], "register")


def test_what_is_unknown_may_have_happened_or_not():
    assert check_linearizable([lost(("write", 1), 0), *one_by_one((("read",), None), (("read",), 1))], "register")
    assert check_linearizable([lost(("write", 1), 0), *one_by_one((("read",), None), (("read",), None))], "register")
    assert not check_linearizable([lost(("write", 1), 0), *one_by_one((("read",), 1), (("read",), None))], "register")
    assert not check_linearizable([*one_by_one((("read",), 1)), lost(("write", 1), 2)], "register")


# --- the result -------------------------------------------------------------------------------------------------------------


def test_an_order_is_given():
    history = [Operation("a", ("write", 1), None, 0, 9), Operation("b", ("read",), 1, 1, 2), lost(("write", 2), 0)]
    found = check_linearizable(history, "register")
    assert found
    assert found.orders == ((history[0], history[1]),), "the lost write is not needed"
    assert str(found) == "Linearizable as register: 3 operations, 1 of them with unknown outcome"
    assert repr(found) == f"<{found}>"


def test_a_violation_is_explained_by_as_little_as_possible():
    history = [
        Operation("a", ("write", 1), None, 0, 10),
        Operation("b", ("read",), 1, 11, 12),
        Operation("a", ("write", 2), None, 20, 30),
        Operation("b", ("read",), 1, 35, 40),
        Operation("c", ("write", 3), None, 33, 60),
        Operation("b", ("read",), 3, 70, 80),
        lost(("write", 4), 25),
    ]
    found = check_linearizable(history, "register")
    assert (found.ok, found.undecided, bool(found)) == (False, False, False)
    assert found.culprit is history[3]
    assert found.window == (history[2], history[3])
    assert set(found.states) == {2, 3, 4}
    assert set(found.prefix) >= {history[0], history[1], history[2]}
    lines = str(found).splitlines()
    assert lines[0] == "Not linearizable as register: no moment from 35 to 40 explains read() -> 1 by client b."
    assert "  - write(2) -> None by client a, from 20 to 30" in lines
    assert lines[-2:] == [
        "client a  |---|          write(2) -> None",
        "client b          |---|  read() -> 1   <- impossible",
    ]


def test_a_violation_of_one_call_alone():
    found = check_linearizable(one_by_one((("read",), 5)), "register")
    assert found.window == (found.culprit,)
    assert "By then the state was None." in found.explanation
    assert "contradict" not in found.explanation


def test_unknown_calls_are_drawn_without_an_end():
    # Loosening it would change nothing, so that only firm calls are ever drawn; the drawing itself can do both.
    from d_engine.testing.linearizability._diagram import diagram

    open_call, short = lost(("write", 1), 0), Operation("b", ("read",), 2, 3, 3)
    assert diagram([open_call, short], short).splitlines() == [
        "client lost  |~~~~>  write(1) -> ?",
        "client b         |   read() -> 2   <- impossible",
    ]


def test_keys_are_apart():
    history = [
        *one_by_one((("write", "k", 1), None), (("read", "k"), 2)),
        Operation("b", ("read", "other"), None, 0, 9),
    ]
    found = check_linearizable(history, "map")
    assert found.part == tuple(history[:2])


def test_an_undecided_search_says_what_to_do():
    writes = [Operation(at, ("write", at), None, 0, 9) for at in range(40)]
    history = [*writes, Operation("r", ("read",), -1, 1, 2)]
    for limit, word in [
        ({"max_moves": 1000}, "max_moves=1000"),
        ({"max_bytes": 1 << 20}, "max_bytes=1048576"),
        ({"timeout": 0.05}, "timeout=0.05 seconds"),
    ]:
        found = check_linearizable(history, "register", **limit)
        assert (found.ok, found.undecided, bool(found)) == (False, True, False)
        assert word in found.explanation
        assert "41 operations, up to 41 under way at the same moment" in found.explanation
        assert found.part == tuple(history)


def test_a_long_search_can_be_interrupted():
    program = """
import math
from d_engine.testing import Operation, check_linearizable
history = [Operation(at, ("write", at), None, 0, 9) for at in range(40)] + [Operation("r", ("read",), -1, 1, 2)]
print("searching", flush=True)
check_linearizable(history, "register", timeout=math.inf, max_bytes=1 << 40)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"searching\n"
        time.sleep(0.2)  # so that it is in the search, though it may be before: Ctrl-C has to end it at any time
        process.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in process.communicate(timeout=30)[1]


def test_other_threads_run_during_a_search():
    writes = [Operation(at, ("write", at), None, 0, 9) for at in range(40)]
    searching = threading.Event()
    turns = 0

    def turn():
        nonlocal turns
        while not searching.is_set():
            turns += 1

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        check_linearizable([*writes, Operation("r", ("read",), -1, 1, 2)], "register", timeout=0.3)
    finally:
        searching.set()
        thread.join()
    assert turns > 10_000


# --- models in Python -------------------------------------------------------------------------------------------------------


@dataclass
class Bank:
    """Accounts that never go below zero."""

    def init(self):
        return frozenset()

    def step(self, state, call, result):
        accounts = dict(state)
        name, account, amount = call
        held = accounts.get(account, 0)
        if name == "balance":
            return result == held, state
        if name == "withdraw" and amount > held:
            return result == "refused", state
        accounts[account] = held + (amount if name == "deposit" else -amount)
        return result == "done", frozenset(accounts.items())


def bank(last):
    return [
        *one_by_one((("deposit", "x", 5), "done"), (("withdraw", "x", 7), "refused"), (("withdraw", "x", 4), "done")),
        Operation("b", ("balance", "x", None), last, 10, 11),
        lost(("deposit", "x", 100), 0),
    ]


@pytest.mark.parametrize("model", [Bank, Bank()], ids=["class", "object"])
def test_a_model_of_ones_own(model):
    assert check_linearizable(bank(1), model)
    assert check_linearizable(bank(101), model), "the lost deposit has come"
    found = check_linearizable(bank(6), model)
    assert not found
    assert found.model == "Bank"
    assert set(found.states) == {frozenset({("x", 1)}), frozenset({("x", 101)})}


def test_partitions_and_reads_of_a_model_are_asked():
    class Keyed(Bank):
        def partition(self, call):
            return call[1]

        def reads(self, call):
            return call[0] == "balance"

    history = [Operation(at, ("balance", str(at), 0), 0, 0, 9) for at in range(20)]
    history += [Operation("w", ("deposit", str(at), 1), "done", 1, 8) for at in range(20)]
    found = check_linearizable(history, Keyed, max_moves=1000)
    assert len(found.orders) == 20
    stale = Operation("late", ("balance", "7", None), 0, 20, 21)
    assert check_linearizable([*history, stale], Keyed).part == (history[7], history[27], stale)


def test_equal_steps_are_made_once():
    class Counting:
        init = 0  # no method: the state itself
        steps = 0

        def step(self, state, call, result):
            self.steps += 1
            return (True, call[1]) if call[0] == "write" else (result == state, state)

    model = Counting()
    history = one_by_one(*[(("write", 1), None), (("read",), 1), (("write", 0), None), (("read",), 0)] * 500)
    assert check_linearizable(history, model)
    assert model.steps < 20


def test_an_unknown_result_is_equal_to_everything():
    assert UNKNOWN == 3
    assert operator.ne(UNKNOWN, 3) is False
    assert repr(UNKNOWN) == "UNKNOWN"
    assert copy.deepcopy(UNKNOWN) is UNKNOWN
    assert pickle.loads(pickle.dumps(UNKNOWN)) is UNKNOWN
    with pytest.raises(TypeError, match="not known"):
        bool(UNKNOWN)
    with pytest.raises(TypeError):
        hash(UNKNOWN)


class Broken:
    """A model whose parts can be replaced."""

    def __init__(self, init=lambda: 0, step=lambda state, call, result: (True, state), **others):
        self.init = init
        self.step = step
        vars(self).update(others)


HISTORY = one_by_one((("write", 1), None), (("read",), 1))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Broken(init=list), "of the type list, which has no hash.*Give a tuple"),
        (Broken(step=lambda state, call, result: (True, [])), "of the type list, which has no hash"),
        (Broken(step=lambda state, call, result: state), r"step returned 0: \(True, new state\) or"),
        (Broken(step=lambda state, call, result: (1, state)), r"step returned \(1, 0\)"),
        (Broken(step=None), "has no method step"),
        (Broken(partition=lambda call: []), "unhashable"),
        (object(), "object has no method step"),
        (3, "int has no method step"),
    ],
)
def test_a_model_that_is_none_is_refused(model, message):
    with pytest.raises(TypeError, match=message):
        check_linearizable(HISTORY, model)


def test_a_model_without_a_first_state_is_refused():
    class Beginless:
        def step(self, state, call, result):
            return True, state

    with pytest.raises(TypeError, match="Beginless has no init"):
        check_linearizable(HISTORY, Beginless)


def test_a_step_that_changes_its_state_is_caught():
    class Holder:
        def __init__(self):
            self.value = 0

        def __eq__(self, other):
            return isinstance(other, Holder) and self.value == other.value

        def __hash__(self):
            return hash(self.value)

    def step(state, call, result):
        state.value += 1
        return True, state

    with pytest.raises(TypeError, match="step has changed the state that it was given"):
        check_linearizable(HISTORY, Broken(init=Holder, step=step))


@pytest.mark.parametrize("part", ["init", "step", "partition", "reads"])
def test_what_a_model_raises_comes_through(part):
    def fails(*arguments):
        raise LookupError(f"in {part}")

    with pytest.raises(LookupError, match=f"in {part}"):
        check_linearizable(HISTORY, Broken(**{part: fails}))


# --- bad input --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "call", "result", "message"),
    [
        ("register", ("increment",), None, r"operation 0, \('increment',\): the calls of this model are \('read',\), "),
        ("register", ("write",), None, "the calls of this model are"),
        ("register", 17, None, "operation 0, 17: a tuple is needed"),
        ("register", (3, 4), None, "the first item is no name"),
        ("register", ("cas", 1, 2), None, "its result is None, where True or False is needed"),
        ("map", ("read",), None, r"\('read', key\)"),
        ("counter", ("add", "x"), None, "the calls of this model are"),
        ("counter", ("read",), 2**70, "a number of at most 64 bits is needed"),
        ("set", ("contains", 1), "yes", "True or False"),
        ("lock", ("acquire", 1, 2), True, "the calls of this model are"),
    ],
)
def test_calls_that_a_model_does_not_take(model, call, result, message):
    with pytest.raises(TypeError, match=message):
        check_linearizable(one_by_one((call, result)), model)


def test_models_and_limits_that_are_none():
    with pytest.raises(ValueError, match="did you mean 'register'"):
        check_linearizable([], "registers")
    with pytest.raises(ValueError, match="there are append-list, counter, lock, map, queue, register, set"):
        check_linearizable([], "xyz")
    with pytest.raises(ValueError, match="initial is for"):
        check_linearizable([], "queue", initial=3)
    with pytest.raises(ValueError, match="a counter begins with a number"):
        check_linearizable([], "counter", initial="x")
    with pytest.raises(ValueError, match="seconds above 0"):
        check_linearizable([], "register", timeout=0)
    with pytest.raises(TypeError, match="a history has Operations, not 3"):
        check_linearizable([3], "register")
    with pytest.raises(OverflowError, match="more than 64 bits"):
        check_linearizable(one_by_one((("add", 2**63 - 1), None), (("increment",), None)), "counter")


def test_an_empty_history_is_in_order():
    assert check_linearizable(History(), "register").orders == ()


def test_it_is_loaded_when_it_is_asked_for():
    program = """
import sys
import d_engine.testing
assert "d_engine.testing.linearizability" not in sys.modules
from d_engine.testing import check_linearizable
assert "d_engine._core" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
