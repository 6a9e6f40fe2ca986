"""Plants each fault of tests/mutants/table.toml and shows which test finds it.

Rust: one build of the tests with feature `mutants`; `D_ENGINE_MUTANT` switches one fault on. Python: the pure core's source is changed while
it is imported (tests/support/mutants.py). Ends with 1 if a fault survives, if a test fails without one, or if table and code name different
ones.
"""

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.mutants import PACKAGE, Mutant, mutants  # noqa: E402

CRATES = {"core": "d-engine-raft", "wal": "d-engine-wal", "node": "d-engine-node"}
# The test programs that look at the rules of the table; building all would take minutes.
PROGRAMS = {
    "core": ["raft"],
    "wal": ["log", "failures", "damage", "power_cut", "threads"],
    "node": ["driver", "driver_members", "driver_policy", "driver_sessions", "sessions", "apply", "transfer"],
}
LIMIT = 120.0  # seconds after which a run is taken for a hang, which is a way to be found


class Result(NamedTuple):
    """What became of one fault in one place."""

    mutant: str
    place: str
    killer: str | None
    seconds: float


def rust_tests(crate: str) -> list[Path]:
    """Builds a crate's tests with the switches in them; gives the programs."""
    command = ["cargo", "test", "-p", CRATES[crate], "--features", "mutants", "--locked", "--no-run", "--quiet"]
    command += [word for program in PROGRAMS[crate] for word in ("--test", program)]
    built = subprocess.run(
        [*command, "--message-format=json"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    messages = (json.loads(line) for line in built.splitlines() if line.startswith("{"))
    return [
        Path(message["executable"])
        for message in messages
        if message.get("executable") and message.get("profile", {}).get("test")
    ]


def attempt(command: list[str], environment: dict[str, str], failed: str, cwd: Path = ROOT) -> tuple[str | None, str]:
    """Runs tests; gives the first that failed (or how the run ended), and all that was printed."""
    try:
        run = subprocess.run(
            command,
            check=False,
            cwd=cwd,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired:
        return "(hangs)", ""
    if run.returncode == 0:
        return None, run.stdout
    found = re.search(failed, run.stdout, re.MULTILINE)
    return (found[1] if found else f"(ends with {run.returncode})"), run.stdout


def run_rust(programs: list[Path], crate: str, tests: str, name: str | None) -> tuple[str | None, int]:
    """The first test that fails with that fault, and how many there were."""
    count = 0
    for program in programs:
        killer, output = attempt(
            [str(program), tests], {"D_ENGINE_MUTANT": name or ""}, r"^test (\S+) \.\.\. FAILED", ROOT / "rust" / crate
        )
        ran = re.search(r"running (\d+) test", output)
        count += int(ran[1]) if ran else 0
        if killer:
            return killer, count
    return None, count


def run_pure(tests: str, name: str | None) -> tuple[str | None, int]:
    """The same for the pure core."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-q",
        "-x",
        "--no-header",
        "-p",
        "no:cacheprovider",
        "tests/protocol",
    ]
    environment = {"D_ENGINE_PURE_MUTANT": name or ""}
    killer, output = attempt([*command, "-k", f"({tests}) and pure"], environment, r"^(?:FAILED|ERROR) \S*?::(\S+)")
    ran = re.search(r"(\d+) (?:passed|failed|error)", output)
    return killer, int(ran[1]) if ran else 0


def check_names(table: list[Mutant]) -> list[str]:
    """Switches in the code that the table does not know, and the other way round."""
    problems: list[str] = []
    worlds = (ROOT / "rust/sim/tests/planted/table.rs").read_text(encoding="utf-8")
    simulated = set(re.findall(r'fault: "([^"]+)"', worlds))
    everywhere = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rust").glob("*/src/**/*.rs"))
    absent = simulated - set(re.findall(r'mutants::on\(\s*"([^"]+)"', everywhere))
    problems += [f"rust/sim/tests/planted names {name}, nothing plants it" for name in sorted(absent)]
    for crate in CRATES:
        source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rust" / crate / "src").rglob("*.rs"))
        planted = set(re.findall(r'mutants::on\(\s*"([^"]+)"', source))
        listed = {mutant.name for mutant in table if crate in mutant.crates}
        unnamed = sorted(planted - listed - simulated)
        problems += [f"rust/{crate} plants {name}, the table does not name it" for name in unnamed]
        problems += [
            f"the table names {name} for rust/{crate}, which does not plant it" for name in sorted(listed - planted)
        ]
    library = importlib.util.find_spec("d_engine._core")
    if library is None or library.origin is None:
        problems.append("the package is not installed: `make wheel`")
    elif b"D_ENGINE_MUTANT" in Path(library.origin).read_bytes():
        problems.append(f"{library.origin} was built with the switches in it: no wheel may be")
    problems += [
        f"{mutant.name} is not planted in both cores, and does not say why"
        for mutant in table
        if not mutant.why_there and not ("core" in mutant.crates and mutant.edits)
    ]
    missing = set(range(1, 43)) - {mutant.number for mutant in table}
    problems += [f"class {number} of the table of regressions has no planted fault" for number in sorted(missing)]
    return problems


def main() -> int:
    """Runs all, prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="faults whose name holds this")
    only = parser.parse_args().only
    table = mutants()
    problems = check_names(table)
    chosen = [mutant for mutant in table if only in mutant.name]
    crates = [crate for crate in CRATES if any(crate in mutant.crates for mutant in chosen)]
    programs = {crate: rust_tests(crate) for crate in crates}
    jobs = [(mutant, crate) for mutant in chosen for crate in (*mutant.crates, *(["pure"] if mutant.edits else []))]
    results: list[Result] = []
    clean: dict[tuple[str, str], str | None] = {}
    for number, (mutant, place) in enumerate(jobs, 1):
        tests = mutant.pure_tests if place == "pure" else mutant.native_tests

        def run(name: str | None, place: str = place, tests: str = tests) -> tuple[str | None, int]:
            return run_pure(tests, name) if place == "pure" else run_rust(programs[place], place, tests, name)

        if (place, tests) not in clean:
            killer, count = run(None)
            clean[place, tests] = killer
            if killer or not count:
                problems.append(f"{tests} in {place} without a fault: {killer or 'there is no such test'}")
        began = time.monotonic()
        killer, _ = run(mutant.name)
        results.append(Result(mutant.name, place, killer, time.monotonic() - began))
        print(f"[{number}/{len(jobs)}] {mutant.name:28} {place:5} {killer or 'SURVIVES'}", file=sys.stderr, flush=True)
    print_table(table, results)
    survivors = [result for result in results if result.killer is None]
    problems += [f"{result.mutant} survives in {result.place}" for result in survivors]
    for problem in problems:
        print(f"problem: {problem}")
    print(f"{len(results)} planted faults, {len(survivors)} survive; {PACKAGE} and {', '.join(crates)}")
    return 1 if problems else 0


def print_table(table: list[Mutant], results: list[Result]) -> None:
    """Markdown, as it is committed."""
    rules = {mutant.name: "; ".join(filter(None, (mutant.rule, mutant.why_there))) for mutant in table}
    print("| fault | what is wrong | in | found by | s |\n| --- | --- | --- | --- | --- |")
    for result in results:
        killer = f"`{result.killer}`" if result.killer else "nothing"
        print(f"| {result.mutant} | {rules[result.mutant]} | {result.place} | {killer} | {result.seconds:.1f} |")


if __name__ == "__main__":
    sys.exit(main())
