"""One node of the demo in a process of its own: `python -m d_engine.demo.child SPEC`, where SPEC is JSON.

SPEC: `id`, `directory`, `peers` (id -> address), `config` (arguments of `Config`). It closes its node and exits when its
standard input ends.
"""

import json
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from d_engine import Config, FileStorage, NotAcceptedError, OutcomeUnknownError, ProposalError, Raft
from d_engine.demo.lines import Answer, LineServer
from d_engine.demo.machine import WordCount, encode

if TYPE_CHECKING:
    from concurrent.futures import Future


class Feed:
    """The lines of one request: each is proposed on its own, and answered together when every outcome is known."""

    def __init__(self, raft: "Raft[bytes, int]", lines: list[tuple[int, str]], answer: Answer) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self._left = len(lines)
        self._outcomes: dict[str, Any] = {"acknowledged": [], "unknown": [], "refused": [], "problem": None}
        for number, text in lines:
            try:
                future = raft.submit(encode(number, text))
            except ProposalError as error:
                self._settle(number, error)
            else:
                future.add_done_callback(partial(self._done, number))

    def _done(self, number: int, future: "Future[int]") -> None:
        self._settle(number, future.exception())

    def _settle(self, number: int, error: BaseException | None) -> None:
        with self._lock:
            if error is None:
                self._outcomes["acknowledged"].append(number)
            elif isinstance(error, NotAcceptedError):  # certainly not applied: may be sent again
                self._outcomes["refused"].append(number)
            else:
                self._outcomes["unknown"].append(number)
                if not isinstance(error, OutcomeUnknownError):
                    self._outcomes["problem"] = f"{type(error).__name__}: {error}"
            self._left -= 1
            complete = self._left == 0
        if complete:
            self._answer(self._outcomes)


def main() -> None:
    spec = json.loads(sys.argv[1])
    server = LineServer()
    machine = WordCount()
    peers = {int(node): address for node, address in spec["peers"].items()}
    raft = Raft(spec["id"], FileStorage(spec["directory"]), machine, Config(**spec["config"]), peers=peers)

    def feed(request: dict[str, Any], answer: Answer) -> None:
        Feed(raft, [(number, text) for number, text in request["lines"]], answer)

    def status(_request: dict[str, Any], answer: Answer) -> None:
        now = raft.status()
        answer(
            {
                "role": str(now.role),
                "term": now.term,
                "leader": now.leader,
                "commit": now.commit,
                "applied": now.applied,
                "last": now.last.index,
                "purged": now.purged.index,
                "snapshot": now.snapshot.index if now.snapshot else 0,
                "restores": machine.restores,
                "metrics": dict(raft.metrics()),
            }
        )

    def count(request: dict[str, Any], answer: Answer) -> None:
        answer({"count": raft.query(request["word"])})

    def dump(_request: dict[str, Any], answer: Answer) -> None:
        answer(raft.read(WordCount.dump, consistency="eventual"))

    def snapshot(_request: dict[str, Any], answer: Answer) -> None:
        raft.snapshot()
        answer({})

    with raft:
        server.serve({"feed": feed, "status": status, "count": count, "dump": dump, "snapshot": snapshot})
    server.close()


if __name__ == "__main__":
    main()
