"""Both cores and both drivers on the same inputs; and that a difference would be found, shrunk and told."""

import subprocess
import sys
from pathlib import Path

import pytest

from d_engine.pure import Accepted, Heartbeat, LogId, Purge
from support.lockstep.pair import Pair, Tally, same
from support.lockstep.planted import PLANTED
from support.lockstep.report import report
from support.lockstep.shrink import script, shrink
from support.lockstep.work import STREAMS, one_stream

RUN = Path(__file__).with_name("run.py")


@pytest.mark.parametrize("kind", STREAMS)
def test_native_and_pure_agree(kind, pytestconfig):
    tally, number = Tally(), 0
    while number < 12 or tally.steps <= 2_000:
        wrong = one_stream(kind, f"{pytestconfig.d_engine_seed}.{number}", tally)
        assert wrong is None, wrong
        number += 1
        assert number < 200, "these lives have hardly a step"


@pytest.mark.parametrize("number", range(len(PLANTED)), ids=lambda number: PLANTED[number][0].replace(" ", "-"))
def test_a_planted_difference_is_found(number):
    # In a process of its own, since the pure core has to be imported with the difference in it.
    command = [sys.executable, "-P", RUN, "--plant", str(number), "--seed", "7"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


class Wrong(Pair):
    """A pair whose pure side purges one entry less."""

    def step(self, given):
        if type(given) is Purge and given.upto:
            self.pure.step(given._replace(upto=given.upto - 1))
        return super().step(given)


def test_a_difference_is_shrunk_to_a_script():
    tally = Tally()
    found = []
    for number in range(200):
        run, steps, _ = STREAMS["solo"]
        try:
            run(f"shrink.{number}", lambda *origin: found.append(Wrong(*origin, tally)) or found[-1], steps)
        except Exception:
            break
    pair = found[-1]
    inputs = shrink(pair.origin, pair.inputs, 20.0, Wrong)
    assert inputs is not None
    assert len(inputs) < len(pair.inputs)
    assert any(type(given) is Purge for given in inputs)
    told = script(pair.origin, inputs, Wrong)
    assert "no difference any more" not in told
    compile(told, "script", "exec")
    assert told.count("core.step(") == len(inputs)


def test_sameness_looks_at_types():
    assert same(LogId(1, 2), LogId(1, 2))
    assert not same(Accepted(1), (1,))
    assert not same([1], (1,))
    assert not same(1, True)
    assert not same(LogId(1, 2), Heartbeat(1, 2))
    assert LogId(1, 2) == Heartbeat(1, 2)


def test_the_report_names_what_was_not_reached():
    tally = Tally()
    one_stream("solo", "report", tally)
    text = report([tally], [], 1.0, "a test")
    assert f"steps compared: {tally.steps}" in text
    assert "| Time | follower |" in text
    assert "fewer than 1,000 times" in text
