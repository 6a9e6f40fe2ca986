"""The state machines of examples, demo and tests keep what a state machine promises."""

import sys
from pathlib import Path

from d_engine.demo.machine import WordCount as DemoWordCount
from d_engine.demo.machine import encode
from d_engine.testing.conformance import StateMachineConformance
from support.faulty import Faults, FaultyBatches, FaultyViews
from support.machines import Journal

sys.path.append(str(Path(__file__).resolve().parents[2] / "examples" / "wordcount"))
from machine import WordCount  # pyright: ignore[reportMissingImports]

LINES = ["to be or not to be", "that is the question", "whether tis nobler", "in the mind", "to suffer"]


class TestWordCountOfTheExample(StateMachineConformance):
    def make(self, path):
        return WordCount()

    def queries(self):
        return ["be", "nowhere"]


class TestWordCountOfTheDemo(StateMachineConformance):
    def make(self, path):
        return DemoWordCount()

    def commands(self):
        return [encode(number, text) for number, text in enumerate(LINES)]

    def queries(self):
        return ["be"]


class TestJournal(StateMachineConformance):
    def make(self, path):
        return Journal()

    def refused(self):
        return [b"refuse this"]

    def queries(self):
        return [None]


class TestFaultyViewsWithoutFaults(StateMachineConformance):
    def make(self, path):
        return FaultyViews(Faults())


class TestFaultyBatchesWithoutFaults(StateMachineConformance):
    def make(self, path):
        return FaultyBatches(Faults())
