"""One node of the word counter: `python node.py ID`, in a terminal of its own for each of 1, 2 and 3.

any line      is an entry: it is counted on every node
? WORD        asks how often a word was counted (a linearizable read, on any node)
!             shows this node's status
"""

import argparse
import sys
import tomllib
from pathlib import Path

from machine import WordCount

from d_engine import Config, DEngineError, FileStorage, NotAcceptedError, OutcomeUnknownError, Raft


def answer(raft: "Raft[bytes, int]", line: str) -> str:
    """What to print for one line of input."""
    if line == "!":
        status = raft.status()
        return f"{status.role} in term {status.term}, leader {status.leader}, applied {status.applied}/{status.commit}"
    if line.startswith("? "):
        return f"{raft.query(line[2:].strip())} times"
    try:
        return f"{raft.propose(line.encode())} words"
    except NotAcceptedError as error:
        return f"certainly not counted, so it may be sent again: {error}"
    except OutcomeUnknownError as error:
        return f"counted or not, nobody knows yet; sent again it might count twice: {error}"


def main() -> None:
    parser = argparse.ArgumentParser(description="One node of the word counter.")
    parser.add_argument("id", type=int, help="which of the peers this is")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("wordcount.toml"))
    parser.add_argument("--data", type=Path, default=Path("data"), help="directory of all nodes' data (default: data)")
    options = parser.parse_args()
    peers = {int(node): address for node, address in tomllib.loads(options.config.read_text())["peers"].items()}
    options.data.mkdir(exist_ok=True)
    storage = FileStorage(options.data / f"node-{options.id}")
    with Raft(options.id, storage, WordCount(), Config.from_toml(options.config), peers=peers) as raft:
        print(f"node {options.id} is up, waiting for the others", flush=True)
        raft.wait_ready(timeout=600)
        print(raft, flush=True)
        for line in sys.stdin:
            try:
                print(answer(raft, line.strip()), flush=True)
            except DEngineError as error:
                print(f"{type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    main()
