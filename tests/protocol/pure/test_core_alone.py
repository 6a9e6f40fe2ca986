"""The pure core needs nothing but Python: no native module, nothing from the package index."""

import subprocess
import sys
from pathlib import Path

import d_engine

PACKAGE = Path(d_engine.__file__).parent
BLOCKED = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in ("d_engine._core", "click", "rich", "uvloop"):
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Refuse())
"""


def run(code):
    done = subprocess.run(
        [sys.executable, "-P", "-c", BLOCKED + code],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_runs_where_the_native_module_cannot_be_imported():
    code = """
import d_engine.pure as pure

member = pure.Member(1, "a:1", incarnation=7)
settings = pure.Settings(50, (150, 300), 1000, 15000, 1 << 16, 8, 1 << 18, 1 << 20, 1 << 20, 1 << 20)
start = pure.Start(1, 7, 0, 42, pure.HardState(), pure.LogId(), 0, (), 0, ((0, pure.Configuration((member,), (), 150)),), None, 0)
core = pure.Core(0, settings, start)
effects = core.step(pure.Time(0, 0))
effects += core.step(pure.Persisted(1, effects[0].token))
print(core.role)
"""
    assert run(code).strip() == "leader"


def test_it_imports_nothing_native_and_nothing_foreign():
    code = """
import d_engine
before = set(sys.modules)
import d_engine.pure
import d_engine.pure.driver
foreign = {name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names
print(sorted(foreign), "d_engine._core" in sys.modules)
"""
    assert run(code).strip() == "['d_engine'] False"


def test_the_package_itself_is_lazy():
    assert run("import d_engine\nprint('d_engine._core' in sys.modules)\n").strip() == "False"
