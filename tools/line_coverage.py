"""Line coverage of both cores by directed tests: what the random ones happen to reach does not count.

    python tools/line_coverage.py rust            # rust/core, by its own tests; needs LLVM's tools of the compiler's version
    python tools/line_coverage.py python          # d_engine.pure, by tests/protocol; needs the package installed, and coverage.py
    python tools/line_coverage.py rust python     # both

Prints each file's share and the lines that no test reaches, and ends with 1 below --at-least.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "coverage"
CORE = ROOT / "rust" / "core" / "src"
RANDOM = ("random", "garbage")  # Rust tests that draw their inputs
TESTS = ("tests/protocol",)
NOT_DIRECTED = "not lockstep and not random"


class File(NamedTuple):
    """A source file's lines that can be run, and those that were."""

    name: str
    lines: set[int]
    reached: set[int]

    @property
    def missed(self) -> list[int]:
        """Those that were not."""
        return sorted(self.lines - self.reached)


def main() -> int:
    """Measures what was asked for; 1 if a core stays below."""
    parser = argparse.ArgumentParser(description="Line coverage of both cores by directed tests.")
    parser.add_argument("cores", nargs="+", choices=("rust", "python"))
    parser.add_argument("--at-least", type=float, default=95.0, help="per cent of each core's lines")
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    found = [(core, list({"rust": rust, "python": python}[core]())) for core in options.cores]
    shares = [show(core, files) for core, files in found]
    return 0 if all(share >= options.at_least for share in shares) else 1


def show(core: str, files: list[File]) -> float:
    """Prints a table; gives the share of all lines in per cent."""
    title = {"rust": "native core (rust/core/src)", "python": "pure core and driver (python/d_engine/pure)"}[core]
    print(f"\n{title}\n{'lines':>6} {'missed':>6} {'share':>7}  file: lines that no directed test reaches")
    for file in files:
        share = percent(len(file.reached), len(file.lines))
        missed = f": {', '.join(runs(file.missed))}" if file.missed else ""
        print(f"{len(file.lines):>6} {len(file.missed):>6} {share:>6.1f}%  {file.name}{missed}")
    lines, missed = sum(len(file.lines) for file in files), sum(len(file.missed) for file in files)
    share = percent(lines - missed, lines)
    print(f"{lines:>6} {missed:>6} {share:>6.1f}%  all")
    return share


def percent(part: int, whole: int) -> float:
    """Of nothing, all is reached."""
    return 100.0 * part / whole if whole else 100.0


def runs(numbers: list[int]) -> Iterator[str]:
    """`3, 4, 5, 9` as `3-5`, `9`."""
    if not numbers:
        return
    first = numbers[0]
    for number, after in pairwise([*numbers, numbers[-1] + 2]):
        if after != number + 1:
            yield str(first) if first == number else f"{first}-{number}"
            first = after


# ---- Rust -----------------------------------------------------------------------------------------------------------


def rust() -> Iterator[File]:
    """Builds the tests of the core with counters in them, runs them, and reads what they counted."""
    profdata, cov = llvm("llvm-profdata"), llvm("llvm-cov")
    profiles = BUILD / "profiles"
    shutil.rmtree(profiles, ignore_errors=True)
    environment = os.environ | {
        "RUSTFLAGS": "-C instrument-coverage",
        "CARGO_TARGET_DIR": str(BUILD / "target"),
        "LLVM_PROFILE_FILE": str(profiles / "%p-%m.profraw"),
    }
    built = subprocess.run(
        ["cargo", "test", "-p", "d-engine-raft", "--locked", "--no-run", "--quiet", "--message-format=json"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    messages = (json.loads(line) for line in built.splitlines() if line.startswith("{"))
    programs = [message["executable"] for message in messages if message.get("executable")]
    skipped = [word for name in RANDOM for word in ("--skip", name)]
    for program in programs:
        subprocess.run(
            [program, "--quiet", *skipped], cwd=ROOT / "rust" / "core", env=environment, check=True, stdout=sys.stderr
        )
    merged = BUILD / "rust.profdata"
    subprocess.run([profdata, "merge", "-sparse", *profiles.glob("*.profraw"), "-o", merged], check=True)
    objects = [word for program in programs[1:] for word in ("-object", program)]
    counted = subprocess.run(
        [cov, "export", "-format=lcov", f"-instr-profile={merged}", programs[0], *objects],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return lcov(counted)


def lcov(text: str) -> Iterator[File]:
    """The core's own files in a report of llvm-cov."""
    for record in text.split("end_of_record"):
        name = re.search(r"^SF:(.*)$", record, re.MULTILINE)
        if name is None or not Path(name[1]).is_relative_to(CORE) or name[1].endswith("tests.rs"):
            continue
        counts = {int(line): int(count) for line, count in re.findall(r"^DA:(\d+),(\d+)", record, re.MULTILINE)}
        yield File(str(Path(name[1]).relative_to(CORE)), set(counts), {line for line, count in counts.items() if count})


def llvm(tool: str) -> str:
    """That tool, of the compiler's own LLVM: rustup's component, or the system's package."""
    about = subprocess.run(["rustc", "-vV"], stdout=subprocess.PIPE, text=True, check=True).stdout
    host, major = re.search(r"host: (.*)", about), re.search(r"LLVM version: (\d+)", about)
    root = subprocess.run(["rustc", "--print", "sysroot"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    assert host is not None
    assert major is not None
    component = Path(root, "lib", "rustlib", host[1], "bin", tool)
    found = str(component) if component.exists() else shutil.which(f"{tool}-{major[1]}")
    if found is None:
        sys.exit(
            f"{tool} of LLVM {major[1]} is missing: `rustup component add llvm-tools`, or `apt-get install llvm-{major[1]}`"
        )
    return found


# ---- Python ---------------------------------------------------------------------------------------------------------


def python() -> Iterable[File]:
    """Runs the tests of the pure core as a user has it, installed."""
    report, data = BUILD / "python.json", BUILD / "python.data"
    coverage = [sys.executable, "-P", "-m", "coverage"]
    settings = ["--source=d_engine.pure", f"--data-file={data}"]
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", NOT_DIRECTED, *TESTS]
    subprocess.run([*coverage, "run", *settings, *tests], cwd=ROOT, check=True, stdout=sys.stderr)
    subprocess.run([*coverage, "json", "-q", f"--data-file={data}", "-o", report], cwd=ROOT, check=True)
    files = json.loads(report.read_text(encoding="utf-8"))["files"]
    for name, file in sorted(files.items()):
        reached, missed = set(file["executed_lines"]), set(file["missing_lines"])
        yield File(name.partition("d_engine/pure/")[2], reached | missed, reached)


if __name__ == "__main__":
    sys.exit(main())
