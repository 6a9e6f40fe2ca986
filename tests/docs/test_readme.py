"""The README's blocks, as a reader would run them."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.ports import free_ports

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
FIRST, NODE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.process
def test_the_first_block_runs_as_it_stands_within_three_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-I", "-"], input=FIRST, capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    took = time.monotonic() - began
    assert (run.returncode, run.stdout, run.stderr) == (0, "8 3\n", "")
    assert took < 3, f"{took:.2f} s"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_node_py_runs_as_three_processes(tmp_path: Path) -> None:
    assert len(NODE.splitlines()) <= 25
    source = NODE
    for written, free in zip((9081, 9082, 9083), free_ports(3), strict=True):
        assert f"127.0.0.1:{written}" in source
        source = source.replace(str(written), str(free))
    program = tmp_path / "node.py"
    program.write_text(source)

    def start(node_id: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", str(program), str(node_id)]
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            text=True,
            bufsize=1,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def say(process: subprocess.Popen[str], line: str) -> str:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(line + "\n")
        return process.stdout.readline()

    nodes = {node_id: start(node_id) for node_id in (1, 2, 3)}
    try:
        for node_id, process in nodes.items():
            assert process.stdout is not None
            assert f"{node_id}" in process.stdout.readline()  # its repr, once it is ready
        answer = re.fullmatch(r"6 words; the leader is node ([123])\n", say(nodes[1], "to be or not to be"))
        assert answer
        assert say(nodes[2], "that is").startswith("8 words")
        # A follower: what is passed on to a dying leader rightly ends as an unknown outcome.
        victim = 2 if answer[1] == "3" else 3
        nodes[victim].kill()
        assert say(nodes[1], "the question").startswith("10 words")
        nodes[victim].communicate()
        again = nodes[victim] = start(victim)
        assert again.stdout is not None
        again.stdout.readline()
        assert say(again, "whether").startswith("11 words")
        for process in nodes.values():
            _, errors = process.communicate(timeout=30)  # the end of its input ends it
            assert (process.returncode, errors) == (0, "")
    finally:
        for process in nodes.values():
            process.kill()
            process.communicate()
