"""The session table: what is applied once, what is kept, and what is forgotten by all nodes at the same entry."""

import random

import pytest

from d_engine.pure import Entry
from d_engine.pure.driver import Limits, Sessions, SessionsError

LIMITS = Limits(ttl=1_000, max_sessions=3, max_bytes=1_000)
ORDINARY = bytes(36)  # with it, ten results are as many as are kept


def opening(index, time=0, limits=LIMITS):
    return Entry(index, 1, "session", time, 0, 0, 0, limits.encode())


def proposal(index, session, sequence, ack_below=0, time=0):
    return Entry(index, 1, "command", time, session, sequence, ack_below, b"x")


def open_table(*entries):
    table = Sessions()
    for entry in entries:
        table.judge(entry)
    table.settle(lambda _: None)
    return table


def test_a_repetition_is_not_applied_and_gets_the_first_result():
    table = open_table(opening(1))
    assert [table.judge(proposal(2, 1, 7)), table.judge(proposal(3, 1, 7))] == ["apply", "repeat"]
    assert table.settle(lambda index: b"of %d" % index) == {3: b"of 2"}
    assert table.judge(proposal(4, 1, 7)) == "repeat"
    assert table.settle(lambda _: b"never asked for") == {4: b"of 2"}


def test_numbers_come_in_any_order():
    table = open_table(opening(1))
    verdicts = [table.judge(proposal(2 + at, 1, number)) for at, number in enumerate([5, 2, 9, 2, 5, 1])]
    assert verdicts == ["apply", "apply", "apply", "repeat", "repeat", "apply"]


def test_what_is_acknowledged_is_freed_and_is_still_not_applied_again():
    table = open_table(opening(1))
    table.judge(proposal(2, 1, 1))
    table.judge(proposal(3, 1, 2))
    table.settle(lambda _: b"result")
    assert table.result_bytes == 2 * (64 + 6)
    assert table.judge(proposal(4, 1, 3, ack_below=3)) == "apply"
    table.settle(lambda _: None)
    assert table.result_bytes == 0
    assert table.judge(proposal(5, 1, 2)) == "repeat"
    assert table.settle(lambda _: None) == {5: None}


def test_a_number_never_acknowledges_itself():
    table = open_table(opening(1))
    assert table.judge(proposal(2, 1, 1, ack_below=9)) == "apply"
    assert table.judge(proposal(3, 1, 1, ack_below=9)) == "repeat"
    assert table.settle(lambda _: b"result") == {3: b"result"}


def test_an_unknown_session_applies_nothing():
    table = open_table()
    assert table.judge(proposal(2, 1, 1)) == "expired"
    assert table.judge(Entry(3, 1, "session", 0, 0, 0, 0, b"not limits")) == "expired"
    assert len(table) == 0


def test_the_least_recently_used_session_makes_room():
    table = open_table(opening(1), opening(2), opening(3), proposal(4, 1, 1), opening(5))
    known = [session for session in (1, 2, 3, 5) if table.judge(proposal(10 + session, session, 2)) != "expired"]
    assert known == [1, 3, 5]


def test_sessions_expire_by_the_time_of_entries():
    table = open_table(opening(1, time=0), opening(2, time=600))
    assert table.judge(proposal(3, 2, 1, time=1_000)) == "apply"
    assert len(table) == 2, "not older than the limit yet"
    assert table.judge(proposal(4, 1, 1, time=1_001)) == "expired"
    assert len(table) == 1


def test_the_oldest_results_are_lost_first():
    table = open_table(opening(1))
    for number in range(1, 13):
        table.judge(proposal(1 + number, 1, number))
    table.settle(lambda _: ORDINARY)
    assert table.result_bytes == 1_000
    for number in range(1, 13):
        table.judge(proposal(20 + number, 1, number))
    answers = table.settle(lambda _: None)
    assert [index - 20 for index, kept in answers.items() if kept is None] == [1, 2]


def test_what_is_larger_than_all_room_is_not_kept():
    table = open_table(opening(1))
    table.judge(proposal(2, 1, 1))
    table.judge(proposal(3, 1, 1))
    assert table.settle(lambda _: bytes(1_000)) == {3: None}


def test_who_acknowledges_nothing_goes_when_the_numbers_are_too_many():
    table = open_table(opening(1), opening(2), proposal(3, 2, 1))
    verdicts = [table.judge(proposal(10 + number, 1, number)) for number in range(1, 16)]
    assert verdicts[:14] == ["apply"] * 14
    assert verdicts[14:] == ["expired"], "fifteen numbers and another one count for more than 1,000 bytes"
    assert table.judge(proposal(30, 2, 2)) == "apply", "the others stay"


def test_the_newest_opening_sets_the_limits_for_all():
    table = open_table(opening(1), opening(2), opening(3))
    table.judge(opening(4, limits=Limits(1_000, 2, 1_000)))
    assert len(table) == 2


@pytest.mark.parametrize("seed", range(50))
def test_where_a_batch_ends_makes_no_difference(seed):
    draw = random.Random(seed)
    tables = [Sessions() for _ in range(3)]
    answers = [{} for _ in tables]
    time = 0

    def result(index):
        return None if index % 7 == 0 else bytes(index % 90)

    for index in range(1, 200):
        time += draw.choice([0, 1, 40])
        if draw.random() < 0.1:
            entry = opening(
                index, time, Limits(draw.choice([300, 1_000]), draw.randint(1, 4), draw.choice([400, 1_000]))
            )
        else:
            sequence = draw.randint(1, 30)
            entry = proposal(index, draw.randint(1, index), sequence, draw.randint(0, sequence), time)
        assert len({table.judge(entry) for table in tables}) == 1
        answers[0] |= tables[0].settle(result)
        if draw.random() < 0.2:
            answers[1] |= tables[1].settle(result)
            assert tables[1].encode() == tables[0].encode()
    for table, given in zip(tables, answers, strict=True):
        given.update(table.settle(result))
        assert given == answers[0]
        assert table.encode() == tables[0].encode()
        assert Sessions.decode(table.encode()).encode() == table.encode()


def test_a_table_that_was_written_goes_on_as_before():
    table = open_table(opening(1), opening(2))
    table.judge(proposal(3, 1, 1))
    table.settle(lambda _: b"result")
    read = Sessions.decode(table.encode())
    for each in (table, read):
        assert each.judge(proposal(4, 1, 1)) == "repeat"
        assert each.settle(lambda _: None) == {4: b"result"}
        each.judge(opening(5))
        each.judge(opening(6))
        assert each.judge(proposal(7, 2, 1)) == "expired", "the least recently used one"
        each.settle(lambda _: None)
    assert read.encode() == table.encode()


def test_the_newest_results_fit_into_a_bound():
    table = open_table(opening(1))
    for number in range(1, 5):
        table.judge(proposal(1 + number, 1, number))
    table.settle(lambda index: bytes([index]))
    read = Sessions.decode(table.encode_within(2 * 65))
    for number in range(1, 5):
        read.judge(proposal(10 + number, 1, number))
    assert list(read.settle(lambda _: None).values()) == [None, None, b"\4", b"\5"]


def test_what_is_no_table_is_refused():
    assert len(Sessions.decode(b"")) == 0
    whole = open_table(opening(1), proposal(2, 1, 1)).encode()
    for bad in [b"\2" + whole[1:], *(whole[:length] for length in range(1, len(whole))), whole + b"\0"]:
        with pytest.raises(SessionsError):
            Sessions.decode(bad)
