"""Histories: recorded by threads, and read from what other tools write."""

import threading

import pytest

from d_engine import LocalCluster, NotLeaderError, StateMachine
from d_engine.testing import History, Operation, check_linearizable
from d_engine.testing.linearizability import _edn

# --- recording --------------------------------------------------------------------------------------------------------------


def test_a_call_ends_in_one_of_three_ways():
    history = History()
    history.invoke("a", ("write", 1)).ok()
    history.invoke("b", ("write", 2)).failed()
    history.invoke("c", ("write", 3)).unknown()
    history.invoke("d", ("read",)).ok(1)
    history.invoke("e", ("write", 4))
    assert list(history) == [
        Operation("a", ("write", 1), None, 1, 2),
        Operation("c", ("write", 3), None, 5, None, unknown=True),
        Operation("d", ("read",), 1, 7, 8),
        Operation("e", ("write", 4), None, 9, None, unknown=True),
    ]
    assert history[2].result == 1
    assert len(history[1:]) == 3
    assert repr(history) == "<History of 4 operations>"
    assert check_linearizable(history, "register")


def test_a_block_ends_its_call():
    history = History()
    with history.invoke(1, ("write", 1)) as call:
        call.ok("done")
    with pytest.raises(NotLeaderError), history.invoke(2, ("write", 2)):
        raise NotLeaderError("follower")
    with pytest.raises(TimeoutError), history.invoke(3, ("write", 3)):
        raise TimeoutError
    with history.invoke(4, ("write", 4)):
        pass
    assert [(call.client, call.unknown) for call in history] == [(1, False), (3, True), (4, True)]
    assert history[0].result == "done"


def test_a_call_ends_once():
    call = History().invoke("a", ("read",))
    call.ok(3)
    for end in (call.ok, call.failed, call.unknown):
        with pytest.raises(ValueError, match="has ended already"):
            end()


def test_operations_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="before it was invoked"):
        Operation("a", ("read",), None, 2, 1)
    with pytest.raises(ValueError, match="before it was invoked"):
        Operation("a", ("read",), None, float("nan"), 1)
    with pytest.raises(ValueError, match="'returned' is missing"):
        Operation("a", ("read",), None, 2, None)


def by_threads(read, write):
    """What two writers and two readers of a register see."""
    history = History()

    def client(number):
        for turn in range(100):
            if number % 2:
                with history.invoke(number, ("write", (number, turn))) as call:
                    call.ok(write((number, turn)))
            else:
                with history.invoke(number, ("read",)) as call:
                    call.ok(read())

    threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(history) == 400
    return history


def test_threads_record_what_they_do():
    held = [None]
    assert check_linearizable(by_threads(lambda: held[0], lambda value: held.__setitem__(0, value)), "register")


def test_a_cache_that_forgets_to_look_is_found():
    held = [None]
    cached = {}

    def read():
        # Each thread looks once, and goes on with what it saw.
        return cached.setdefault(threading.get_ident(), held[0])

    history = by_threads(read, lambda value: held.__setitem__(0, value))
    last = history.invoke("late", ("read",))
    last.ok(next(iter(cached.values())))
    assert not check_linearizable(history, "register")


class Register(StateMachine[bytes, bytes]):
    def __init__(self):
        self.value = b""

    def apply(self, entry):
        before, self.value = self.value, bytes(entry.data)
        return before

    def query(self, request):
        return self.value

    def snapshot(self, out):
        out.write(self.value)

    def restore(self, src):
        self.value = src.read()


def test_a_cluster_is_linearizable():
    with LocalCluster(Register, nodes=3) as cluster:
        nodes = list(cluster.nodes.values())
        history = History()

        def client(number):
            node = nodes[number % 3]
            for turn in range(20):
                data = f"{number}.{turn}".encode()
                with history.invoke(number, ("swap", data)) as call:
                    call.ok(node.propose(data))
                with history.invoke(number, ("read",)) as call:
                    call.ok(node.query(None))

        threads = [threading.Thread(target=client, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(history) == 240
    found = check_linearizable(history, "register", initial=b"")
    assert found, found


# --- formats ----------------------------------------------------------------------------------------------------------------

EDN = """
; one event a line, as Jepsen's history.edn
{:process 0, :type :invoke, :f :write, :value 3, :time 1, :index 0}
{:process :nemesis, :type :info, :f :start, :value nil}
{:process 1, :type :invoke, :f :cas, :value [3 4]}
{:process 0, :type :ok, :f :write, :value 3}
{:process 1, :type :ok, :f :cas, :value [3 4]}
{:process 2, :type :invoke, :f :read, :value nil}
{:process 3, :type :invoke, :f :write, :value 9}
{:process 2, :type :ok, :f :read, :value 4}
{:process 3, :type :info, :f :write, :value 9, :error [:timeout "no answer"]}
{:process 4, :type :invoke, :f :cas, :value [7 8]}
{:process 4, :type :fail, :f :cas, :value [7 8]}
{:process 5, :type :invoke, :f :read, :value nil}
"""

OPERATIONS = [
    Operation(0, ("write", 3), None, 0, 3),
    Operation(1, ("cas", 3, 4), True, 2, 4),
    Operation(2, ("read",), 4, 5, 7),
    Operation(3, ("write", 9), None, 6, None, unknown=True),
    Operation(5, ("read",), None, 11, None, unknown=True),
]

LOG = """
INFO  jepsen.core - starting
INFO  jepsen.util - 0\t:invoke\t:write\t3
INFO  jepsen.util - :nemesis\t:info\t:start\tnil
INFO  jepsen.util - 1   :invoke :cas    [3 4]
INFO  jepsen.util - 0\t:ok\t:write\t3
2015-03-04 12:00:00,123 INFO  jepsen.util - 1 :ok :cas [3 4]
INFO  jepsen.util - 2\t:invoke\t:read\tnil
INFO  jepsen.util - 3\t:invoke\t:write\t9
INFO  jepsen.util - 2\t:ok\t:read\t4
INFO  jepsen.util - 3\t:info\t:write\t:timed-out
INFO  jepsen.util - 4\t:invoke\t:cas\t[7 8]
INFO  jepsen.util - 4\t:fail\t:cas\t[7 8]
INFO  jepsen.util - 5\t:invoke\t:read\tnil
"""

JSON = """
{"process": 0, "type": "invoke", "f": "write", "value": 3}
{"process": "nemesis", "type": "info", "f": "start", "value": null}
{"process": 1, "type": "invoke", "f": "cas", "value": [3, 4]}
{"process": 0, "type": "ok", "f": "write", "value": 3}

{"process": 1, "type": "ok", "f": "cas", "value": [3, 4]}
{"process": 2, "type": "invoke", "f": "read", "value": null}
{"process": 3, "type": "invoke", "f": "write", "value": 9}
{"process": 2, "type": "ok", "f": "read", "value": 4}
{"process": 3, "type": "info", "f": "write", "value": 9}
{"process": 4, "type": "invoke", "f": "cas", "value": [7, 8]}
{"process": 4, "type": "fail", "f": "cas", "value": [7, 8]}
{"process": 5, "type": "invoke", "f": "read", "value": null}
"""

ARRAY = "[" + ",".join(line for line in JSON.splitlines() if line) + "]"
VECTOR = "[" + EDN.replace(", :f", " :f") + "]"
LIST = "(" + EDN.replace("{", "#jepsen.history.Op{") + ")"
COLUMNS = "\n".join(line.partition(" - ")[2] for line in LOG.splitlines())


@pytest.mark.parametrize(
    "text",
    [EDN, VECTOR, LIST, JSON, ARRAY, LOG, COLUMNS],
    ids=["edn", "vector", "tagged", "json", "array", "log", "columns"],
)
def test_all_formats_say_the_same(text, tmp_path):
    assert list(History.parse(text)) == OPERATIONS
    (tmp_path / "history").write_text(text, encoding="utf-8")
    assert list(History.read(tmp_path / "history")) == OPERATIONS
    assert check_linearizable(History.parse(text), "cas-register")


def test_failures_that_were_observed_are_results():
    seen = History.parse(EDN, observed_failures=["cas"])
    assert seen[4] == Operation(4, ("cas", 7, 8), False, 9, 10)
    assert check_linearizable(seen, "cas-register")
    # With the lost write it might have seen something else.
    wrong = EDN.replace("[7 8]", "[4 8]").replace(":info, :f :write", ":fail, :f :write")
    assert not check_linearizable(History.parse(wrong, observed_failures=["cas"]), "cas-register")
    assert check_linearizable(History.parse(wrong), "cas-register")


def test_pairs_of_key_and_value():
    maelstrom = """
    #jepsen.history.Op{:index 0, :time 1, :type :invoke, :process 0, :f :write, :value [7 1]}
    #jepsen.history.Op{:index 1, :time 2, :type :ok, :process 0, :f :write, :value [7 1]}
    #jepsen.history.Op{:index 2, :time 3, :type :invoke, :process 1, :f :read, :value [7 nil]}
    #jepsen.history.Op{:index 3, :time 4, :type :ok, :process 1, :f :read, :value [7 1]}
    #jepsen.history.Op{:index 4, :time 5, :type :invoke, :process 0, :f :cas, :value [7 [1 2]]}
    #jepsen.history.Op{:index 5, :time 6, :type :ok, :process 0, :f :cas, :value [7 [1 2]]}
    """
    history = History.parse(maelstrom, keyed=True)
    assert [call.call for call in history] == [("write", 7, 1), ("read", 7), ("cas", 7, 1, 2)]
    assert [call.result for call in history] == [None, 1, True]
    assert check_linearizable(history, "map")
    with pytest.raises(ValueError, match="line 3: the value is 4, where a pair"):
        History.parse(EDN.replace("[3 4]", "[0 [3 4]]").replace(":value 3", ":value 4"), keyed=True)


def test_keys_beside_the_values():
    porcupine = """
    {:process 2, :type :invoke, :f :append, :key "1", :value "x \\"2\\" y"}
    {:process 2, :type :ok, :f :append, :key "1", :value "x \\"2\\" y"}
    {:process 0, :type :invoke, :f :get, :key "1", :value nil}
    {:process 0, :type :ok, :f :get, :key "1", :value "x \\"2\\" y"}
    {:process 0, :type :invoke, :f :get, :key "2", :value nil}
    {:process 0, :type :ok, :f :get, :key "2", :value ""}
    """
    history = History.parse(porcupine)
    assert [call.call for call in history] == [("append", "1", 'x "2" y'), ("get", "1"), ("get", "2")]
    assert check_linearizable(history, "map", initial="")


def test_queues_sets_and_counters():
    text = """
    {:process 0, :type :invoke, :f :enqueue, :value 1} {:process 0, :type :ok, :f :enqueue, :value 1}
    {:process 0, :type :invoke, :f :dequeue, :value nil} {:process 0, :type :ok, :f :dequeue, :value 1}
    {:process 0, :type :invoke, :f :dequeue} {:process 0, :type :fail, :f :dequeue, :error :empty}
    """
    assert [(call.call, call.result) for call in History.parse(text)] == [(("enqueue", 1), None), (("dequeue",), 1)]
    text = """
    {:process 0, :type :invoke, :f :add, :value 1} {:process 0, :type :ok, :f :add, :value 1}
    {:process 0, :type :invoke, :f :read, :value nil} {:process 0, :type :ok, :f :read, :value #{1}}
    """
    assert check_linearizable(History.parse(text), "set")
    assert check_linearizable(History.parse(text.replace("#{1}", "1")), "counter")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("some log\nof another tool", "line 1: neither EDN nor JSON"),
        ('{"process": 0}\n', "line 1: an event without type and f"),
        ('{"process": 0, "type": "invoke", "f": "read"}\n{"proc', "line 2: "),
        ('[{"process": 0, ]', "line 1: "),
        ('{"process": 0, "type": "begin", "f": "read"}', "line 1: the type is 'begin'"),
        ("{:process 0 :type :ok :f :read}", "line 1: process 0 ends read, which it has not invoked"),
        ("{:process 0 :type :invoke :f :read}\n{:process 0 :type :invoke :f :add}", "line 2: process 0 invokes add while its read of line 1"),
        ("{:process 0 :type :invoke :f :read}\n{:process 0 :type :ok :f :write}", "line 2: process 0 ends write, but has invoked read in line 1"),
        ("[{:process 0 :type :invoke :f :read}\n 17]", "line 2: 17 is no event"),
        ("{:process 0\n :type", "line 2: '}' is missing at the end"),
        ("{:process 0 :type}", "line 1: a map with a key and no value"),
        ("{:process 0}\n]", r"line 2: '\]' closes nothing"),
        ('{:process 0 :value "x', 'line 1: no EDN: \'"x\''),
    ],
)  # fmt: skip
def test_what_is_no_history_is_refused_with_its_line(text, message):
    with pytest.raises(ValueError, match=message):
        History.parse(text)


def test_nothing_is_an_empty_history():
    assert len(History.parse("")) == 0
    assert len(History.parse("; a remark\n[]")) == 0


def test_edn():
    text = r"""
    nil true false -3 4N 2.5 1e3 1.5M :key :a/b symbol "a\n\"é" \a \newline \u00e9 ; a remark
    (1, 2) [[] {}] {:a 1, "b" [2]} #{1 2} #inst "2015" #_ dropped #_ [1 2] last
    """
    assert [value for _, value in _edn.read_all(text)] == [
        *(None, True, False, -3, 4, 2.5, 1000.0, 1.5, "key", "a/b", "symbol", 'a\n"é', "a", "\n", "é"),
        *((1, 2), ((), {}), {"a": 1, "b": (2,)}, frozenset({1, 2}), "2015", "last"),
    ]
