"""The guards are tested too: a check that cannot fail shows nothing."""

import sys
from array import array

import pytest

from d_engine.demo.processes import Child, ChildGoneError, Ports, wait_until
from process.pumps import Outcomes
from process.test_kill import check_ledgers

ECHO = """
import json, sys
from d_engine.demo.lines import LineServer
server = LineServer()
def later(request, answer): pass
def echo(request, answer): answer({"said": request["text"]})
server.serve({"echo": echo, "later": later})
server.close()
"""


def ledger(*numbers: int) -> tuple[array, array]:
    return array("Q", numbers), array("Q", range(10, 10 + len(numbers)))


def outcomes() -> Outcomes:
    known = Outcomes()
    known.acknowledged = {0: 10, 1: 11}
    known.unknown = {2}
    known.refused = {3}
    return known


def test_ledgers_that_are_right_pass():
    assert check_ledgers({1: ledger(0, 1), 2: ledger(0, 1)}, outcomes()) == 0
    assert check_ledgers({1: ledger(0, 1, 2), 2: ledger(0, 1, 2)}, outcomes()) == 1


@pytest.mark.parametrize(
    ("ledgers", "complaint"),
    [
        ({1: ledger(0)}, "lost"),
        ({1: ledger(1, 0)}, "elsewhere"),
        ({1: ledger(0, 1), 2: ledger(0, 1, 2)}, "something else"),
        ({1: ledger(0, 1, 0)}, "twice"),
        ({1: ledger(0, 1, 3)}, "refused"),
        ({1: ledger(0, 1, 4)}, "no outcome"),
    ],
)
def test_ledgers_that_are_wrong_do_not(ledgers, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_ledgers(ledgers, outcomes())


@pytest.mark.process
def test_a_child_answers_and_what_it_did_not_answer_fails_with_its_death(tmp_path):
    child = Child([sys.executable, "-c", ECHO], name="echo", errors=tmp_path / "stderr.txt")
    assert child.call("echo", text="a") == {"said": "a"}
    left = child.request("later")
    child.kill()
    with pytest.raises(ChildGoneError):
        left.result(5)
    with pytest.raises(ChildGoneError):
        child.call("echo", text="b")


@pytest.mark.process
def test_a_child_ends_when_its_input_does(tmp_path):
    child = Child([sys.executable, "-c", ECHO], name="echo", errors=tmp_path / "stderr.txt")
    assert child.stop(timeout=10) == 0


def test_a_held_port_can_be_listened_on():
    import socket

    ports = Ports(2)
    with socket.create_server(("127.0.0.1", ports.numbers[0])) as server:
        socket.create_connection(server.getsockname()).close()
    ports.close()


def test_waiting_is_bounded():
    with pytest.raises(TimeoutError, match="never"):
        wait_until(lambda: False, within=0.05, what="never")
