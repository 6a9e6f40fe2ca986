"""Quorum arithmetic against its definition, for every pair of halves of up to five voters, apart or sharing some."""

from itertools import combinations, product

import pytest

from d_engine.pure import committed_index, quorum, vote_result

MOST = 5
HALVES = [
    (tuple(range(1, size + 1)), tuple(range(size - shared + 1, size - shared + other + 1)))
    for size in range(MOST + 1)
    for other in range(MOST + 1)
    for shared in range(min(size, other) + 1)
]


def majorities(voters):
    """All sets of voters that are more than half of them."""
    return [chosen for size in range(len(voters) // 2 + 1, len(voters) + 1) for chosen in combinations(voters, size)]


def values_of(voters, outgoing, values):
    nodes = sorted({*voters, *outgoing})
    # Of ten voters, three values each would be 59,049 cases a pair: two tell as much.
    values = values[:2] if len(nodes) > 8 else values
    for chosen in product(values, repeat=len(nodes)):
        yield dict(zip(nodes, chosen, strict=True))


@pytest.mark.parametrize(("voters", "outgoing"), HALVES)
def test_committed_index(voters, outgoing):
    halves = [half for half in (voters, outgoing) if half]
    quorums = [majorities(half) for half in halves]
    for acked in values_of(voters, outgoing, (0, 3, 7)):
        reached = [max(min(acked[node] for node in chosen) for chosen in chosens) for chosens in quorums]
        assert committed_index(acked, voters, outgoing) == min(reached, default=2**64 - 1)


@pytest.mark.parametrize(("voters", "outgoing"), HALVES)
def test_vote_result(voters, outgoing):
    quorums = [majorities(half) for half in (voters, outgoing) if half]
    for answers in values_of(voters, outgoing, (True, None, False)):
        votes = {node: answer for node, answer in answers.items() if answer is not None}
        won = all(any(all(votes.get(node) for node in chosen) for chosen in chosens) for chosens in quorums)
        winnable = all(any(all(votes.get(node, True) for node in chosen) for chosen in chosens) for chosens in quorums)
        expected = "won" if won else "pending" if winnable else "lost"
        assert vote_result(votes, voters, outgoing) == expected


def test_two_quorums_have_a_voter_in_common():
    for size in range(1, 10):
        assert 2 * quorum(size) > size
        assert 2 * (quorum(size) - 1) <= size


def test_who_has_not_answered_holds_nothing():
    assert committed_index({1: 9}, (1, 2, 3)) == 0
    assert committed_index({1: 9, 2: 4}, (1, 2, 3)) == 4


def test_strangers_do_not_count():
    assert committed_index({1: 9, 7: 9, 8: 9}, (1, 2, 3)) == 0
    assert vote_result({1: True, 7: True, 8: True}, (1, 2, 3)) == "pending"


def test_a_voter_named_twice_counts_once():
    assert committed_index({1: 9}, (1, 1, 2)) == 0
    assert vote_result({1: True}, (1, 1, 2)) == "pending"
