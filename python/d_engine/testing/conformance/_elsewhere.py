"""Applies the commands of a suite in another interpreter, in which strings have other hashes."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._case import fail, shown, skip

if TYPE_CHECKING:
    from ._machine_bench import MachineFace

__all__ = ["apply_elsewhere", "main", "portable"]

_PROGRAM = f"from {__name__} import main; main()"
_PROGRAM_AS_MODULE = "__mp_main__"
_SEEDS = ("4711", "1147")
_LONGEST = 120.0  # seconds


def apply_elsewhere(suite: MachineFace) -> tuple[list[Any], Any]:
    """Results and state of a machine that has applied all commands in another interpreter."""
    cls = type(suite)
    try:
        file = inspect.getfile(cls)
    except (TypeError, OSError):
        file = ""
    if "<locals>" in cls.__qualname__ or not Path(file).is_file():
        skip(f"{cls.__qualname__} is not at the top of a module, where another interpreter could find it")
    seed = next(seed for seed in _SEEDS if seed != os.environ.get("PYTHONHASHSEED"))
    # A program is loaded as a module there, so that it does not run once more; the name is multiprocessing's.
    module = _PROGRAM_AS_MODULE if cls.__module__ == "__main__" else cls.__module__
    job = {"path": sys.path, "module": module, "file": file, "name": cls.__qualname__}
    done = subprocess.run(  # noqa: S603 (this interpreter, and a program of this module)
        [sys.executable, "-c", _PROGRAM],
        input=json.dumps(job).encode(),
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        timeout=_LONGEST,
        check=False,
    )
    if done.returncode != 0:
        errors = done.stderr.decode(errors="replace").strip().splitlines()
        fail(
            "the commands are applied in another interpreter, too",
            errors[-1] if errors else f"exit code {done.returncode}",
        )
    sys.modules.setdefault(module, sys.modules[cls.__module__])
    results, state = pickle.loads(done.stdout)  # noqa: S301 (written by our own child)
    return results, state


def main() -> None:
    """The other interpreter's program: reads the job, writes results and state."""
    from ._machine_bench import Bench, outcome

    job = json.loads(sys.stdin.buffer.read())
    sys.path[:] = job["path"]
    target: Any = _module(job["module"], job["file"])
    for name in job["name"].split("."):
        target = getattr(target, name)
    out, sys.stdout = sys.stdout.buffer, sys.stderr  # what a machine prints is not part of the answer
    with tempfile.TemporaryDirectory(prefix="d-engine-") as place:
        bench = Bench(target(), Path(place))
        machine = bench.machine()
        results = [outcome(result) for result in bench.apply(machine, bench.entries)]
        answer = (portable(results), portable(bench.state(machine)))
        bench.tidy()
    out.write(pickle.dumps(answer))
    out.flush()


def _module(name: str, file: str) -> Any:
    """The module of the suite, under the name that it has in the first interpreter."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is not None and found.origin == file:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def portable(value: Any) -> Any:
    """The value if it can be pickled, else what it looks like."""
    try:
        pickle.dumps(value)
    except Exception:  # noqa: BLE001 (whatever keeps it from being pickled)
        return shown(value)
    return value
