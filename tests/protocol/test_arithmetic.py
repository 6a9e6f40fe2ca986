"""The arithmetic of quorums and memberships alone, of both cores, against naive definitions, for all sets of up to five voters."""

import itertools
from types import MappingProxyType

import pytest

from d_engine import core, pure
from support.lockstep.pair import same
from support.sim.make import configuration, incarnation, member, seen

ARITHMETIC = pytest.mark.parametrize("face", [core, pure], ids=["native", "pure"])
HALVES = [
    (tuple(range(1, old + 1)), tuple(range(old - shared + 1, old - shared + new + 1)))
    for old, new in itertools.product(range(6), repeat=2)
    for shared in range(min(old, new) + 1)
]
"""All pairs of sets of up to five voters, but for their names."""


def everybody(halves):
    return sorted({*halves[0], *halves[1]})


@ARITHMETIC
def test_committed_index_is_what_a_quorum_of_each_half_holds(face):
    for halves in HALVES:
        voters = everybody(halves)
        for held in itertools.product(range(3), repeat=len(voters)):
            acked = {voter: index for voter, index in zip(voters, held, strict=True) if index}
            expected = max(
                (
                    index
                    for index in range(3)
                    if all(2 * sum(acked.get(v, 0) >= index for v in half) > len(half) for half in halves if half)
                ),
                default=0,
            )
            assert face.committed_index(acked, *halves) == (expected if voters else 2**64 - 1), (acked, halves)


@ARITHMETIC
def test_an_election_is_won_by_a_quorum_of_each_half(face):
    for halves in HALVES:
        voters = everybody(halves)
        for cast in itertools.product((None, False, True), repeat=len(voters)):
            votes = {voter: vote for voter, vote in zip(voters, cast, strict=True) if vote is not None}
            can_win = all(2 * sum(votes.get(v, True) for v in half) > len(half) for half in halves if half)
            has_won = all(2 * sum(votes.get(v, False) for v in half) > len(half) for half in halves if half)
            expected = "won" if has_won else "pending" if can_win else "lost"
            assert face.vote_result(votes, *halves) == expected, (votes, halves)


@ARITHMETIC
def test_a_change_goes_from_any_voters_to_any_others(face):
    nodes = range(1, 6)
    sets = [set(chosen) for size in range(6) for chosen in itertools.combinations(nodes, size)]
    for old, new in itertools.product(sets, repeat=2):
        before = configuration(member(node, incarnation=incarnation(node)) for node in sorted(old))
        changes = tuple(pure.Remove(node) for node in sorted(old - new))
        changes += tuple(pure.Add(member(node)) for node in sorted(new - old))
        if not new or not changes:
            with pytest.raises(pure.ChangeRefusedError) as raised:
                face.change(before, changes)
            assert type(raised.value.why) is pure.ChangeError
            assert raised.value.why.kind == ("no_voter_left" if changes else "empty")
            continue
        steps = face.change(before, changes)
        assert set(steps[-1].voters()) == new
        assert steps[-1].outgoing == ()
        assert {one.id for one in steps[-1].members} == new
        if len(old ^ new) == 1:
            assert len(steps) == 1
        else:
            assert len(steps) == 2
            assert (set(steps[0].voters()), set(steps[0].outgoing)) == (new, old)


def test_both_change_alike():
    roles = [member(4, role="learner"), member(5, role="witness"), member(4, priority=3), member(6, auto_promote=True)]
    wishes = [
        *(pure.Add(one) for one in roles),
        *(wish(node) for wish in (pure.Remove, pure.Promote, pure.Demote) for node in (0, 1, 4, 5)),
    ]
    before = configuration(
        [
            *(member(node, incarnation=incarnation(node)) for node in (1, 2, 3)),
            member(4, role="learner", incarnation=incarnation(4)),
            member(5, role="learner"),
        ]
    )
    for size in range(4):
        for changes in itertools.permutations(wishes, size):
            assert same(outcome(core, before, changes), outcome(pure, before, changes)), changes


def outcome(face, before, changes):
    try:
        return face.change(before, changes)
    except pure.ChangeRefusedError as refusal:
        return refusal.why


BAD_SUMS = [
    (TypeError, core.committed_index, [1], (1,)),
    (TypeError, core.committed_index, {1: "x"}, (1,)),
    (ValueError, core.committed_index, {1: -1}, (1,)),
    (TypeError, core.committed_index, {1: 1}, 7),
    (TypeError, core.committed_index, {1: 1}, ("a",)),
    (TypeError, core.vote_result, {1: 1}, (1,)),
    (ValueError, core.vote_result, {1: True}, (2**64,)),
    (TypeError, core.change, None, ()),
    (TypeError, core.change, seen(3), (7,)),
    (ValueError, core.change, seen(3)._replace(outgoing=(2, 1)), (pure.Remove(1),)),
]


def test_bad_input_of_the_arithmetic():
    for error, call, *given in BAD_SUMS:
        with pytest.raises(error):
            call(*given)


def test_any_mapping_and_any_collection_will_do():
    assert core.committed_index(MappingProxyType({1: 4, 2: 3}), frozenset({1, 2, 3})) == 3
    assert core.committed_index({1: 4, 2: 3}, [1, 2, 2, 3], outgoing=range(1, 3)) == 3
    assert core.vote_result(MappingProxyType({1: True, 2: True}), {1, 2, 3}) == "won"
