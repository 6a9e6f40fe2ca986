"""What the author of a plugin sees."""

import subprocess
import sys

import pytest

PLUGIN = """
from d_engine import MemoryStorage
from d_engine.testing import StorageConformance


class Log(type(MemoryStorage().log_store)):
    def append(self, records, *, truncate_from):
        if truncate_from is not None and records:
            kept = [record for record in self._records if record.index > records[-1].index]
            super().append([*records, *kept], truncate_from=truncate_from)
        else:
            super().append(records, truncate_from=truncate_from)


class Storage(MemoryStorage):
    def __init__(self):
        super().__init__()
        self.log_store = Log()


class TestStorage(StorageConformance):
    durable = False

    def make(self, path):
        return Storage()
"""


@pytest.mark.process
def test_the_broken_promise_is_named_first_and_explained(tmp_path):
    (tmp_path / "test_mine.py").write_text(PLUGIN)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rf", "test_mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert failed[0].startswith("FAILED test_mine.py::TestStorage::test_truncation_drops_what_follows")
    report = done.stdout[done.stdout.index("= FAILURES") :]
    for line in (
        "append(truncate_from=k) drops everything from k on before it appends.",
        "expected: bounds().last.index after append([record 3], truncate_from=3) on 1 to 6: 3",
        "came:     6",
        "do:       Delete everything at and behind truncate_from in the transaction that inserts.",
    ):
        assert line in report, done.stdout


@pytest.mark.process
def test_the_suites_do_without_pytest():
    program = "import sys, d_engine.testing.conformance, d_engine.testing; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_suite_without_make_says_what_to_write(tmp_path):
    from d_engine.testing import StateMachineConformance, StorageConformance, TransportConformance

    for suite in (StorageConformance, StateMachineConformance, TransportConformance):
        with pytest.raises(NotImplementedError, match="write 'def make"):
            suite().test_a_node_accepts_it(tmp_path)
