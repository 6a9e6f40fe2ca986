"""What one sees while the demo runs: a bar and a live line a node with rich, one plain line a second without."""

import sys
import time
from typing import Protocol

from d_engine.demo.cluster import NODES, Cluster
from d_engine.demo.feed import Work


class Display(Protocol):
    """Refreshed some ten times a second from one thread, and told what happens from the same one."""

    def refresh(self) -> None: ...
    def tell(self, text: str) -> None: ...
    def close(self) -> None: ...


def node_line(cluster: Cluster, node: int) -> tuple[str, ...]:
    """Node, role, term, commit, applied."""
    said = cluster.said(node)
    if not said:
        return (f"node {node}", "down" if node not in cluster.children else "starting", "", "", "")
    return (f"node {node}", said["role"], str(said["term"]), str(said["commit"]), str(said["applied"]))


class PlainDisplay:
    """At most one line a second, and every event on a line of its own."""

    def __init__(self, cluster: Cluster, work: Work) -> None:
        self._cluster = cluster
        self._work = work
        self._began = self._last = time.monotonic()

    def refresh(self) -> None:
        now = time.monotonic()
        if now - self._last < 1.0:
            return
        self._last = now
        nodes = ", ".join(
            f"{name} {role}" + (f" term {term} commit {commit} applied {applied}" if term else "")
            for name, role, term, commit, applied in (node_line(self._cluster, node) for node in NODES)
        )
        self.tell(f"{self._work.settled}/{len(self._work.lines)} lines; {nodes}")

    def tell(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:5.1f} s] {text}", flush=True)

    def close(self) -> None:
        pass


def make_display(cluster: Cluster, work: Work, *, plain: bool) -> Display:
    """The rich display on a terminal that has rich, else the plain one."""
    if plain or not sys.stdout.isatty():
        return PlainDisplay(cluster, work)
    try:
        from d_engine.demo.show_rich import RichDisplay
    except ImportError:
        print("For a progress bar: pip install 'd-engine-core[cli]'")
        return PlainDisplay(cluster, work)
    return RichDisplay(cluster, work)
