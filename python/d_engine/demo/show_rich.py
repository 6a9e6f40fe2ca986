"""The display with rich (extra `[cli]`)."""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from d_engine.demo.cluster import NODES, Cluster
from d_engine.demo.feed import Work
from d_engine.demo.show import node_line

STYLES = {"leader": "bold green", "down": "red", "starting": "yellow", "candidate": "yellow", "precandidate": "yellow"}


class RichDisplay:
    """A bar for the lines and a table of the nodes below what has happened so far."""

    def __init__(self, cluster: Cluster, work: Work) -> None:
        self._cluster = cluster
        self._work = work
        self._began = time.monotonic()
        self._console = Console()
        self._bar = Progress(TextColumn("lines"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn())
        self._task = self._bar.add_task("lines", total=len(work.lines))
        self._live = Live(self._picture(), console=self._console, auto_refresh=False)
        self._live.start()

    def refresh(self) -> None:
        self._bar.update(self._task, completed=self._work.settled)
        self._live.update(self._picture(), refresh=True)

    def tell(self, text: str) -> None:
        self._console.print(f"[dim]{time.monotonic() - self._began:5.1f} s[/dim]  {text}", highlight=False)

    def close(self) -> None:
        self.refresh()
        self._live.stop()

    def _picture(self) -> Group:
        table = Table("", "role", "term", "commit", "applied", box=None, pad_edge=False)
        for node in NODES:
            name, role, *numbers = node_line(self._cluster, node)
            table.add_row(name, f"[{STYLES.get(role, 'default')}]{role}[/]", *numbers)
        return Group(self._bar, table)
