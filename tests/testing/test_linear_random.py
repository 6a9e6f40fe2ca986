"""Random small histories: the search says what all permutations say, for built-in models and for the same ones in Python."""

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from d_engine.testing import UNKNOWN, Operation, check_linearizable


class Register:
    def init(self):
        return None

    def step(self, state, call, result):
        name, *arguments = call
        if name == "read":
            return result == state, state
        if name == "write":
            return True, arguments[0]
        old, new = arguments
        return result == (state == old), new if state == old else state

    def reads(self, call):
        return call[0] == "read"


class Queue:
    def init(self):
        return ()

    def step(self, state, call, result):
        if call[0] == "enqueue":
            return True, (*state, call[1])
        return (result == state[0], state[1:]) if state else (result == None, state)  # noqa: E711  # UNKNOWN is not None, but equal to it


class Map:
    def init(self):
        return frozenset()

    def step(self, state, call, result):
        entries = dict(state)
        if call[0] == "read":
            return result == entries.get(call[1]), state
        entries[call[1]] = call[2]
        return True, frozenset(entries.items())


class KeyedMap(Map):
    def partition(self, call):
        return call[1]


def allowed(model, history):
    """Whether some order is right, by trying all orders of all sets of calls."""
    firm = [call for call in history if not call.unknown]
    unknown = [call for call in history if call.unknown]
    return any(
        explains(model, order)
        for chosen in range(2 ** len(unknown))
        for order in permutations([*firm, *(call for at, call in enumerate(unknown) if chosen >> at & 1)])
    )


def explains(model, order):
    state = model.init()
    latest = float("-inf")  # the latest invocation so far: nothing that returned before it may follow
    for call in order:
        if not call.unknown and call.returned < latest:
            return False
        latest = max(latest, call.invoked)
        possible, state = model.step(state, call.call, UNKNOWN if call.unknown else call.result)
        if not possible:
            return False
    return True


def histories(calls):
    """Up to six calls; their moments collide often."""

    def operation(client, call, invoked, lasts, known):
        if known == 0:
            return Operation(client, call[0], None, invoked, None, unknown=True)
        return Operation(client, call[0], call[1], invoked, invoked + lasts)

    times = st.integers(0, 12)
    return st.lists(st.builds(operation, times, calls, times, st.integers(0, 6), st.integers(0, 4)), max_size=6)


value = st.integers(0, 2)
maybe = st.one_of(st.none(), value)
register_calls = st.one_of(
    st.tuples(st.just(("read",)), maybe),
    st.tuples(st.tuples(st.just("write"), value), st.none()),
    st.tuples(st.tuples(st.just("cas"), value, value), st.booleans()),
)
queue_calls = st.one_of(
    st.tuples(st.tuples(st.just("enqueue"), value), st.none()),
    st.tuples(st.just(("dequeue",)), maybe),
)
key = st.sampled_from("ab")
map_calls = st.one_of(
    st.tuples(st.tuples(st.just("read"), key), maybe),
    st.tuples(st.tuples(st.just("write"), key, value), st.none()),
)


def agree(history, name, *models):
    expected = allowed(models[0], history)
    for model in (name, *models):
        found = check_linearizable(history, model)
        assert (found.ok, found.undecided) == (expected, False), found
        if found.ok:
            assert name == "map" or explains(models[0], sum(found.orders, ()))
        else:
            assert found.culprit in found.window
            assert explains(models[0], found.prefix) or name == "map"


@settings(max_examples=150, deadline=None)
@given(histories(register_calls))
def test_registers(history):
    agree(history, "register", Register())


@settings(max_examples=100, deadline=None)
@given(histories(queue_calls))
def test_queues(history):
    agree(history, "queue", Queue())


@settings(max_examples=100, deadline=None)
@given(histories(map_calls))
def test_maps(history):
    agree(history, "map", Map(), KeyedMap())
