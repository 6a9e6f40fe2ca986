"""One node in a process of its own: `python benches/member.py SPEC`, driven over standard input and output.

SPEC is JSON: `system`, `id`, `peers`, `directory`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from systems import Member, make_member

from d_engine.demo.lines import Answer, LineServer

if TYPE_CHECKING:
    from collections.abc import Callable

Request = dict[str, Any]


def sequential(member: Member, request: Request) -> Request:
    """One write after the other for some time; the latencies in microseconds."""
    data = os.urandom(request["size"])
    end = time.perf_counter() + request["seconds"]
    latencies: list[float] = []
    now = time.perf_counter()
    while now < end:
        began = now
        member.propose(data)
        now = time.perf_counter()
        latencies.append(round((now - began) * 1e6, 1))
    return {"latencies": latencies}


def throughput(member: Member, request: Request) -> Request:
    """Many writes in flight, from several threads of this process."""
    data = os.urandom(request["size"])
    stop = threading.Event()
    each = request["in_flight"] // request["threads"]
    with ThreadPoolExecutor(request["threads"]) as pool:
        before = member.tally.entries
        began = time.perf_counter()
        pumps = [pool.submit(member.pump, data, each, request["group"], stop) for _ in range(request["threads"])]
        stop.wait(request["seconds"])
        applied = member.tally.entries - before
        elapsed = time.perf_counter() - began
        stop.set()
        results = [pump.result() for pump in pumps]
    return {
        "acknowledged": sum(acknowledged for acknowledged, _ in results),
        "applied": applied,
        "lost": sum(lost for _, lost in results),
        "elapsed": elapsed,
    }


class Probe:
    """Writes every 10 ms from its start on, and remembers when each was sent and acknowledged."""

    def __init__(self, member: Member, size: int) -> None:
        self._member = member
        self._data = os.urandom(size)
        self._lock = threading.Condition()
        self._acknowledged: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def first_after(self, moment: float, within: float) -> tuple[float, float] | None:
        """(sent, acknowledged) of the first acknowledgement of a write sent after that moment; ends the writing."""

        def found() -> list[tuple[float, float]]:
            return [pair for pair in self._acknowledged if pair[0] >= moment]

        with self._lock:
            self._lock.wait_for(found, within)
            pairs = found()
        self._stop.set()
        self._thread.join()
        return min(pairs, key=lambda pair: pair[1]) if pairs else None

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            sent = time.monotonic()
            try:
                self._member.probe(self._data, partial(self._done, sent))
            except Exception:  # noqa: BLE001 (a refusal: the next write follows in 10 ms)
                continue

    def _done(self, sent: float, ok: bool) -> None:  # noqa: FBT001
        if ok:
            with self._lock:
                self._acknowledged.append((sent, time.monotonic()))
                self._lock.notify_all()


def main() -> None:
    spec = json.loads(sys.argv[1])
    server = LineServer()
    peers = {int(node): address for node, address in spec["peers"].items()}
    member = make_member(spec["system"], spec["id"], peers, Path(spec["directory"]))
    probes: list[Probe] = []

    def aside(work: Callable[[Request], Request]) -> Callable[[Request, Answer], None]:
        """On a thread of its own, so that this one goes on reading."""

        def run(request: Request, answer: Answer) -> None:
            try:
                answer(work(request))
            except Exception as error:  # noqa: BLE001 (the parent is told)
                answer({"error": f"{type(error).__name__}: {error}"})

        return lambda request, answer: threading.Thread(target=run, args=(request, answer), daemon=True).start()

    def status(_request: Request, answer: Answer) -> None:
        answer(
            {
                "leads": member.leads(),
                "ready": member.ready(),
                "entries": member.tally.entries,
                "cpu": time.process_time(),
                "metrics": member.metrics(),
            }
        )

    def probe(request: Request, answer: Answer) -> None:
        probes.append(Probe(member, request["size"]))
        answer({})

    server.serve(
        {
            "status": status,
            "sequential": aside(lambda request: sequential(member, request)),
            "throughput": aside(lambda request: throughput(member, request)),
            "probe": probe,
            "first_after": aside(
                lambda request: {"found": probes.pop().first_after(request["moment"], request["within"])}
            ),
        }
    )
    member.close()
    server.close()
    os._exit(0)  # PySyncObj leaves a thread behind that would keep the process


if __name__ == "__main__":
    main()
