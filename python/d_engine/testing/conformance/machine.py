"""The suite for state machines."""

from __future__ import annotations

from ._machine_apply import AcceptedCases, ApplyCases, BatchCases, RefusalCases
from ._machine_durable import DurableCases, NodeCases, ResultCases
from ._machine_snapshots import SnapshotCases, ViewCases

__all__ = ["StateMachineConformance"]


# pytest runs the cases of the last base first: what is simple before what rests on it, so that the first failure of a report is
# the one to look at.
class StateMachineConformance(
    NodeCases,
    ResultCases,
    DurableCases,
    ViewCases,
    BatchCases,
    RefusalCases,
    SnapshotCases,
    ApplyCases,
    AcceptedCases,
):
    """What a state machine promises, case by case: derive a test class from it, and say how yours is made and what it understands.

        class TestAccounts(StateMachineConformance):
            def make(self, path: Path) -> Accounts:
                return Accounts()

            def commands(self) -> list[bytes]:
                return [b"ada +10", b"bob +5", b"ada -3"]

    `make(path)` returns a machine that has applied nothing; `path` is an empty directory, for machines that keep files (all others
    ignore it). `commands()` are applied in this order, again and again if there are few: let them reach every kind of command, and as
    many different keys as you like. The default is a few words in UTF-8.

    Optional:

    * `refused()`: commands that are refused with a `CommandError` once `commands()` were applied.
    * `queries()`: requests for `query`.
    * `state(machine)`: what is compared; the default is the bytes of a snapshot. Needed where equal states have different snapshots.
    * `allowed`: names of clocks and sources of chance that apply may ask, as failures name them, such as `frozenset({"time.time()"})`.
    * `close(machine)`: gives free what a machine holds; the default calls its `close`, if it has one.
    * `crash(path, copy)`: as for `StorageConformance`, for durable machines whose data is not in files.

    Cases about `freeze`, `apply_durable` and `dump_result` are skipped for machines without them. The class has to stand at the top of
    its module: one case applies the commands in another interpreter, which has to find it.
    """
