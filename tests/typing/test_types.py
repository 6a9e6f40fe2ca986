"""The public face under mypy and pyright in strict mode, and its stubs under stubtest."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(__file__).resolve().parent / "samples"


def needs(module):
    return pytest.mark.skipif(
        importlib.util.find_spec(module) is None, reason=f"{module} is not installed (make lint has it)"
    )


def run(*command):
    # The checkout's stubs: what an editor sees. The samples are outside of every configured root.
    environment = {**os.environ, "MYPYPATH": str(ROOT / "python")}
    return subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300
    )


def taken(name, tmp_path):
    """A sample's copy, away from the checkout's own settings. What is wrong on purpose is not named .py there: linters look at it."""
    target = tmp_path / name
    source = SAMPLES / name
    target.write_bytes((source if source.exists() else source.with_suffix(".txt")).read_bytes())
    return target


def marked_lines():
    lines = (SAMPLES / "wrong.txt").read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}


def mypy(name, tmp_path):
    return run(
        "mypy",
        "--strict",
        "--config-file=",
        f"--cache-dir={tmp_path}",
        "--python-version=3.11",
        str(taken(name, tmp_path)),
    )


def pyright(name, tmp_path):
    settings = {
        "include": ["."],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "extraPaths": [str(ROOT / "python")],
        "reportMissingModuleSource": False,
    }
    taken(name, tmp_path)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    done = run("pyright", "--outputjson", "--pythonpath", sys.executable, "--project", str(tmp_path))
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1, done.stdout
    return report["generalDiagnostics"]


@needs("mypy")
@pytest.mark.process
@pytest.mark.slow
def test_a_typed_program_satisfies_mypy(tmp_path):
    done = mypy("face.py", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@needs("mypy")
@pytest.mark.process
@pytest.mark.slow
def test_mypy_refuses_what_is_wrong(tmp_path):
    done = mypy("wrong.py", tmp_path)
    found = {int(line) for line in re.findall(r"wrong\.py:(\d+): error", done.stdout)}
    assert found == marked_lines(), done.stdout


@needs("pyright")
@pytest.mark.process
@pytest.mark.slow
def test_a_typed_program_satisfies_pyright(tmp_path):
    problems = [problem for problem in pyright("face.py", tmp_path) if problem["severity"] == "error"]
    assert problems == []


@needs("pyright")
@pytest.mark.process
@pytest.mark.slow
def test_pyright_refuses_what_is_wrong(tmp_path):
    problems = pyright("wrong.py", tmp_path)
    found = {problem["range"]["start"]["line"] + 1 for problem in problems if problem["severity"] == "error"}
    assert found == marked_lines(), problems


@needs("mypy")
@pytest.mark.process
@pytest.mark.slow
def test_the_stub_tells_what_the_native_module_has():
    done = run(
        "mypy.stubtest",
        "d_engine._core",
        "d_engine._cores",
        "--concise",
        "--mypy-config-file",
        str(ROOT / "tools" / "stubtest.ini"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
