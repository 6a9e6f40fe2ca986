"""The memory of processes, looked at every 100 ms."""

import threading
from pathlib import Path

from process.harness import Child

INTERVAL = 0.1


def resident(child: Child) -> int:
    """Bytes of memory that a process has now."""
    for line in Path(f"/proc/{child.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


class Watch:
    """Looks from its making until `end`."""

    def __init__(self, children: dict[str, Child]) -> None:
        self._children = children
        self.before = {name: resident(child) for name, child in children.items()}
        self.most = dict(self.before)
        self.samples = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(INTERVAL):
            self.samples += 1
            for name, child in self._children.items():
                self.most[name] = max(self.most[name], resident(child))

    def end(self) -> dict[str, int]:
        """How much more each had at most."""
        self._end.set()
        self._thread.join()
        return {name: self.most[name] - self.before[name] for name in self._children}
