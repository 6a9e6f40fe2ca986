"""`python -m d_engine doctor DIR`. The demo is `python -m d_engine.demo`, logs are looked into by `d-engine log`."""

from __future__ import annotations

import sys

from . import doctor


def main(arguments: list[str]) -> int:
    """Runs one of the tools that need nothing but the standard library."""
    if arguments[:1] == ["doctor"]:
        return doctor.main(arguments[1:])
    print(
        "usage: python -m d_engine doctor DIR\n"
        "       python -m d_engine.demo [FILE...]\n"
        "       d-engine log inspect|verify DIR",
        file=sys.stderr,
    )
    return 0 if arguments[:1] in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
