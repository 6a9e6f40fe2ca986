"""Every case finds the fault that was planted for it, names it first, and leaves in peace what is in order."""

import inspect
import tempfile
from pathlib import Path

import pytest

from d_engine.testing.conformance import ConformanceError, StorageConformance, run
from d_engine.testing.conformance._case import cases
from support.broken.storage_model import STORAGES, Model, suite_of

MEMORY = Path("/dev/shm")
SUITES = {StorageConformance: STORAGES.load("logs", "engines", "snapshots")}
ALL = [broken for registry in SUITES.values() for broken in registry]


@pytest.fixture
def place():
    """A directory that is quick to fill and to empty: the cases make hundreds."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        yield Path(directory)


@pytest.mark.parametrize("broken", ALL, ids=str)
def test_a_broken_plugin_fails_its_case_first_and_passes_the_others(broken, place):
    report = run(broken.suite, place)
    assert next(iter(report.failed), None) == broken.case, str(report)
    assert set(report.failed) == {broken.case} | broken.also, str(report)
    error = report.failed[broken.case]
    assert isinstance(error, ConformanceError)
    assert all((error.promise, error.expected, error.came, error.do)), str(error)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_every_case_has_a_broken_plugin(suite):
    named = [broken.case for broken in SUITES[suite]]
    assert set(cases(suite)) - set(named) == set()
    assert set(named) - set(cases(suite)) == set()


@pytest.mark.parametrize(("suite", "least"), [(StorageConformance, 60)])
def test_there_are_as_many_cases_as_promised(suite, least):
    assert len(cases(suite)) >= least


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_every_case_states_its_promise(suite):
    promises = [inspect.getdoc(getattr(suite, name)) for name in cases(suite)]
    assert all(promise and promise.endswith(".") for promise in promises)
    assert len(set(promises)) == len(promises)


@pytest.mark.parametrize("model", [Model], ids=["storage"])
def test_the_model_that_the_broken_ones_are_made_of_is_in_order(model, place):
    report = run(suite_of(model), place)
    assert report.ok, str(report)
    assert report.skipped == {}
