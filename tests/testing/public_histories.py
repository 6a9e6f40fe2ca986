"""Compares verdicts with those of the public collections of histories. A program, for whoever has them at hand.

python tests/testing/public_histories.py PORCUPINE KNOSSOS: folders with checkouts of anishathalye/porcupine and jepsen-io/knossos. The verdicts are
theirs: they stand in Porcupine's tests and in the names of Knossos' folders.
"""

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from d_engine.testing import History, check_linearizable

# Their model of a map answers "" for a key that is not there; everywhere else nothing is None.
EMPTY = {"map": ""}


def porcupine(folder: Path) -> Iterator[tuple[Path, History, str, bool]]:
    verdicts = (folder / "porcupine_test.go").read_text()
    for number, verdict in re.findall(r"checkJepsen\(t, (\d+), (true|false)\)", verdicts):
        path = folder / f"test_data/jepsen/etcd_{int(number):03}.log"
        yield path, History.read(path, observed_failures=["cas"]), "cas-register", verdict == "true"
    for name, verdict in sorted(set(re.findall(r'checkKv\(t, "(\S+)", (true|false), true\)', verdicts))):
        path = folder / f"test_data/kv/{name}.txt"
        yield path, History.read(path), "map", verdict == "true"


def knossos(folder: Path) -> Iterator[tuple[Path, History, str, bool]]:
    for path in sorted((folder / "data").glob("*/*/*.edn")):
        model, verdict = path.parts[-3:-1]
        if model in {"cas-register", "mutex"} and path.stat().st_size:
            yield path, History.read(path), model, verdict == "good"


def main() -> None:
    wrong = operations = histories = 0
    seconds = 0.0
    for path, history, model, expected in (*porcupine(Path(sys.argv[1])), *knossos(Path(sys.argv[2]))):
        began = time.perf_counter()
        found = check_linearizable(history, model, initial=EMPTY.get(model), timeout=120)
        took = time.perf_counter() - began
        seconds += took
        operations += len(found.operations)
        histories += 1
        if found.undecided or found.ok != expected or took > 2:
            wrong += found.undecided or found.ok != expected
            print(f"{path}: expected {expected}, {took:.1f} s\n{found}\n")
    print(f"{histories} histories, {operations} operations, {seconds:.2f} s: {wrong} verdicts differ")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
