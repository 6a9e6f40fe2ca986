"""What every test gets: a look at what it left behind, a seed, and data that is kept when it fails."""

import gc
import os
import random
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from support.mutants import install_chosen

install_chosen()  # before any test imports what is to hold the fault

ROOT = Path(__file__).resolve().parent.parent
FAILURES = ROOT / "build" / "failures"
KEPT_BYTES = 256 * 1024 * 1024
GRACE = 5.0  # seconds that the system may take to take down what has ended


def pytest_addoption(parser):
    parser.addoption(
        "--full", action="store_true", help="full counts, as in `make full-process` (also D_ENGINE_FULL=1)"
    )
    parser.addoption("--rewrite", action="store_true", help="write what protocol scripts print into their files")
    parser.addoption("--seed", type=int, default=None, help="seed of all random choices (also D_ENGINE_SEED)")


def pytest_configure(config):
    # A shell starts what it puts into the background with SIGINT ignored, and Python then leaves it so: nobody could press Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    given = config.getoption("--seed")
    if given is None:
        given = int(os.environ.get("D_ENGINE_SEED") or random.SystemRandom().randrange(2**32))
    config.d_engine_seed = given


def pytest_report_header(config):
    return f"d-engine seed: {config.d_engine_seed}"


def pytest_collection_modifyitems(config, items):
    if is_full(config):
        return
    skip = pytest.mark.skip(reason="runs for minutes: only with --full or D_ENGINE_FULL=1")
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(skip)


def is_full(config):
    return bool(config.getoption("--full") or os.environ.get("D_ENGINE_FULL") == "1")


@pytest.fixture
def full(pytestconfig):
    """Whether full counts are wanted."""
    return is_full(pytestconfig)


@pytest.fixture
def seed(request):
    """The number that all random choices of this test come from; shown with the command that repeats a failure."""
    value = request.config.d_engine_seed
    request.node.user_properties.append(("seed", value))
    return value


@pytest.fixture
def rng(seed, request):
    """A random stream of its own for each test."""
    return random.Random(f"{seed} {request.node.nodeid}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and call.when in ("setup", "call", "teardown"):
        lines = []
        seeds = [value for name, value in item.user_properties if name == "seed"]
        replay = f"python -m pytest '{item.nodeid}'"
        if seeds:
            lines.append(f"seed: {seeds[0]}")
            replay = f"D_ENGINE_SEED={seeds[0]} {replay}"
        if is_full(item.config):
            replay = f"D_ENGINE_FULL=1 {replay}"
        kept = keep(item)
        if kept is not None:
            lines.append(f"data: {kept}")
        lines.append(f"replay: {replay}")
        report.sections.append(("how to repeat it", "\n".join(lines)))
    return report


def keep(item):
    """Copies a failed test's directory, so that it outlives pytest's own clean-up."""
    source = getattr(item, "funcargs", {}).get("tmp_path")
    if source is None or not source.exists() or not any(source.iterdir()):
        return None
    target = FAILURES / re.sub(r"[^A-Za-z0-9_.-]+", "_", item.nodeid)[-120:]
    shutil.rmtree(target, ignore_errors=True)
    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file() and not path.is_symlink())
    if size > KEPT_BYTES:
        return f"{source} (not copied: {size:,} bytes)"
    shutil.copytree(source, target, symlinks=True, ignore_dangling_symlinks=True)
    return target


class Holdings:
    """Threads, descriptors and children of this process at one moment."""

    def __init__(self):
        # A native thread on which somebody logged has a record here that outlives it; native threads are looked at below.
        self.threads = {thread for thread in threading.enumerate() if not isinstance(thread, threading._DummyThread)}
        self.tasks = {int(name): read(f"/proc/self/task/{name}/comm") for name in listed("/proc/self/task")}
        self.files = {}
        for name in listed("/proc/self/fd"):
            try:
                self.files[int(name)] = os.readlink(f"/proc/self/fd/{name}")
            except OSError:
                continue
        self.children = children()

    def left_since(self, before):
        """What is here and was not before, in words."""
        found = [f"thread {thread.name}" for thread in self.threads - before.threads]
        found += [f"native thread {tid} ({self.tasks[tid]})" for tid in self.tasks.keys() - before.tasks.keys()]
        found += [
            f"file {fd} -> {target}"
            for fd, target in self.files.items()
            if before.files.get(fd) != target and is_ours(target)
        ]
        found += [f"process {pid} ({self.children[pid]})" for pid in self.children.keys() - before.children.keys()]
        return found


def is_ours(target):
    return not target.startswith(("/proc/", "/dev/pts", "/dev/null", "/dev/urandom")) and "/.hypothesis/" not in target


def listed(path):
    try:
        return os.listdir(path)
    except OSError:
        return []


def read(path):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return "?"


def children():
    own = os.getpid()
    direct = f"/proc/self/task/{own}/children"
    if Path(direct).exists():  # where the kernel keeps such lists, the table of all processes need not be read
        pids = [pid for tid in listed("/proc/self/task") for pid in read(f"/proc/self/task/{tid}/children").split()]
        return {int(pid): read(f"/proc/{pid}/comm") for pid in pids if pid != "?"}
    found = {}
    for name in listed("/proc"):
        if not name.isdigit():
            continue
        stat = read(f"/proc/{name}/stat")
        # The command stands in brackets and may hold anything; what follows the last bracket is regular.
        fields = stat.rpartition(")")[2].split()
        if len(fields) > 1 and fields[1] == str(own):
            found[int(name)] = stat.partition("(")[2].rpartition(")")[0]
    return found


@pytest.fixture(autouse=True)
def nothing_left(request):
    """After every test: no thread, file or process of it is left."""
    before = Holdings()
    yield
    gc.collect()
    deadline = time.monotonic() + GRACE
    while left := Holdings().left_since(before):
        if time.monotonic() > deadline:
            pytest.fail("left behind: " + "; ".join(left), pytrace=False)
        # What has been joined may stay in the system's tables for a moment; there is no event for its end.
        time.sleep(0.01)
