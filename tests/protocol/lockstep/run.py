"""`make lockstep`: both cores on the same inputs, for so many minutes or steps, in so many processes.

LOCKSTEP_ARGS="--minutes 4 --seed 7 --jobs 2"; `--stream KIND:SEED` repeats one stream; `--planted` shows after how many steps each of
the differences of `support/lockstep/planted.py` is found.
"""

import argparse
import multiprocessing
import queue
import random
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))
# What imports the pure core is imported in functions: a worker may have to plant a difference in it before.

BAR = 30
KINDS = ("solo", "pause", "cluster", "driver", "drivers")
WITHIN = 1_000_000  # steps in which a planted difference must be found


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4.0, help="how long each process goes on")
    parser.add_argument("--steps", type=int, default=1 << 62, help="or how many steps all together")
    parser.add_argument("--seed", type=int, default=None, help="of all streams; drawn if not given")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--only", choices=KINDS, default=None, help="streams of one kind only")
    parser.add_argument("--stream", default=None, help="one stream again, as KIND:SEED")
    parser.add_argument("--planted", action="store_true", help="find all planted differences")
    parser.add_argument("--plant", type=int, default=None, help="find the one of that number")
    parser.add_argument("--report", type=Path, default=ROOT / "build" / "lockstep.md", help="where the report goes")
    return parser.parse_args()


def worker(number, jobs, seed, minutes, steps, told, only):
    from support.lockstep.work import work

    work(number, jobs, seed, minutes, steps, told.put, only)


def progress(began, minutes, steps, counts):
    done, seconds = sum(counts.values()), time.monotonic() - began
    share = min(1.0, max(seconds / (60 * minutes), done / steps))
    bar = "#" * round(BAR * share)
    return f"[{bar:<{BAR}}] {share:4.0%}  {done:>12,} steps  {done / max(seconds, 1e-9):>7,.0f}/s"


def run(options, seed):
    """Tallies of all workers, and what went wrong in them."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    steps = options.steps // options.jobs
    jobs = []
    for number in range(options.jobs):
        args = (number, options.jobs, seed, options.minutes, steps, told, options.only)
        jobs.append(context.Process(target=worker, args=args, daemon=True))
        jobs[-1].start()
    began, shown, counts, ended = time.monotonic(), 0.0, {}, {}
    live = sys.stderr.isatty()
    while len(ended) < len(jobs):
        try:
            number, steps, result = told.get(timeout=1.0)
        except queue.Empty:
            if told.empty() and any(not job.is_alive() and at not in ended for at, job in enumerate(jobs)):
                raise SystemExit("a worker has died without a word") from None
            continue
        counts[number] = steps
        if result is not None:
            ended[number] = result
        now = time.monotonic()
        if now - shown > (0.5 if live else 20.0) or len(ended) == len(jobs):
            shown = now
            line = progress(began, options.minutes, options.steps, counts)
            print("\r" + line if live else line, end="" if live else "\n", file=sys.stderr, flush=True)
    if live:
        print(file=sys.stderr)
    return list(ended.values())


def plant(number, seed):
    """One planted difference, in this process: after how many steps it is found; None if it is not."""
    from support.lockstep.planted import plant_one

    plant_one(number)
    from support.lockstep.work import work

    heard = []
    work(0, 1, seed, 60.0, WITHIN, heard.append, shrinking=0)
    _, steps, (_, wrong) = heard[-1]
    return steps if wrong is not None else None


def planted(seed):
    """All of them, each in a process of its own, since the pure core has to be imported with the difference in it."""
    from support.lockstep.planted import PLANTED

    missed = 0
    for number, (name, module, _, _) in enumerate(PLANTED):
        command = [sys.executable, "-P", __file__, "--plant", str(number), "--seed", str(seed)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        missed += done.returncode != 0
        print(f"{number:>3}  {done.stdout.strip() or done.stderr[-300:]:>24}  {module:<16} {name}", flush=True)
    return missed


def main():
    options = arguments()
    if options.stream is not None:
        from support.lockstep.pair import Tally
        from support.lockstep.work import one_stream

        kind, _, name = options.stream.partition(":")
        wrong = one_stream(kind, name, Tally())
        print(wrong or "no difference")
        raise SystemExit(wrong is not None)
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    if options.plant is not None:
        steps = plant(options.plant, seed)
        print(f"not in {WITHIN:,} steps" if steps is None else f"after {steps:,} steps")
        raise SystemExit(steps is None)
    if options.planted:
        raise SystemExit(bool(planted(seed)))
    began = time.monotonic()
    ended = run(options, seed)
    from support.lockstep.report import merged, report

    tallies = [tally for tally, _ in ended]
    wrong = [text for _, text in ended if text is not None]
    how = f"`make lockstep`, seed {seed}, {options.jobs} processes"
    text = report(tallies, wrong, time.monotonic() - began, how)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(text)
    print(text)
    for found in wrong:
        print(found, file=sys.stderr)
    _, steps, _ = merged(tallies)
    print(f"{steps:,} steps, {len(wrong)} differences, seed {seed}; report: {options.report}")
    raise SystemExit(bool(wrong) or steps == 0)


if __name__ == "__main__":
    main()
