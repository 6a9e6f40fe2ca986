"""The suite for storages."""

from __future__ import annotations

from ._durable import DurableCases, MetaCases
from ._engine import AcceptedCases, EngineCases, NodeCases
from ._log import LogCases, PurgeCases
from ._snapshots import SnapshotCases

__all__ = ["StorageConformance"]


# pytest runs the cases of the last base first: what is simple before what rests on it, so that the first failure of a report is
# the one to look at.
class StorageConformance(
    NodeCases,
    SnapshotCases,
    DurableCases,
    EngineCases,
    MetaCases,
    PurgeCases,
    LogCases,
    AcceptedCases,
):
    """What a storage promises, case by case: derive a test class from it and say how yours is made.

        class TestMine(StorageConformance):
            def make(self, path: Path) -> MyStorage:
                return MyStorage(path / "node.db")

    `make(path)` returns a storage that is not open yet, whose data is at `path` (an existing directory, empty at first) and
    nowhere else. It is called again with the same path for a restart, and with a copy of it for what a kill would leave.

    Optional:

    * `durable = False` for a storage that ends with its object: it is restarted as the same object, and what is said about kills
      and locks is skipped.
    * `crash(path, copy)` where the data is not in files: makes `copy` another storage's data, equal to what a kill of the process would leave of
      the one at `path`, which is open. The default copies the files. It sees what has left the process, not whether it was synced to
      the disk: no test in a process can; read your own code for that.

    Cases about snapshots are skipped for a storage without a `snapshot_store`.
    """
