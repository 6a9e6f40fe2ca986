"""Every case finds the fault that was planted for it, names it first, and leaves in peace what is in order."""

import inspect
import tempfile
from pathlib import Path

import pytest

from d_engine.testing.conformance import (
    ConformanceError,
    StateMachineConformance,
    StorageConformance,
    TransportConformance,
    run,
)
from d_engine.testing.conformance._case import cases
from support.broken import machine_model, storage_model, transport_model

MEMORY = Path("/dev/shm")
SUITES = {
    StorageConformance: storage_model.STORAGES.load("logs", "engines", "snapshots"),
    StateMachineConformance: machine_model.MACHINES.load("machines"),
    TransportConformance: transport_model.TRANSPORTS.load("transports"),
}
ALL = [broken for registry in SUITES.values() for broken in registry]


@pytest.fixture
def place():
    """A directory that is quick to fill and to empty: the cases make hundreds."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        yield Path(directory)


@pytest.mark.process
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


@pytest.mark.parametrize(
    ("suite", "least"), [(StorageConformance, 60), (StateMachineConformance, 25), (TransportConformance, 15)]
)
def test_there_are_as_many_cases_as_promised(suite, least):
    assert len(cases(suite)) >= least


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_every_case_states_its_promise(suite):
    promises = [inspect.getdoc(getattr(suite, name)) for name in cases(suite)]
    assert all(promise and promise.endswith(".") for promise in promises)
    assert len(set(promises)) == len(promises)


@pytest.mark.parametrize(
    "suites",
    [storage_model.IN_ORDER, machine_model.IN_ORDER, transport_model.IN_ORDER],
    ids=["storage", "state machines", "transport"],
)
def test_the_models_that_the_broken_ones_are_made_of_are_in_order(suites, place):
    """Together they pass every case: none is left out because no model has what it is about."""
    passed = set()
    for number, suite in enumerate(suites):
        (place / f"{number}").mkdir()
        report = run(suite, place / f"{number}")
        assert report.ok, str(report)
        passed.update(report.passed)
    assert passed == set(cases(suites[0]))
