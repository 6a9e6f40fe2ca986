"""Membership changes: every change of every small cluster, against what must hold of any."""

from itertools import combinations, product

import pytest

from d_engine.pure import Add, ChangeRefusedError, Configuration, Demote, Member, Promote, Remove, change

NODES = (1, 2, 3, 4)


def member(node, role="voter", **fields):
    return Member(node, f"node-{node}:1", role=role, incarnation=node, auto_promote=False)._replace(**fields)


def configuration(*members):
    return Configuration(tuple(members), (), 150)


def clusters():
    """All memberships of up to four nodes that may be."""
    for roles in product((None, "voter", "learner", "witness"), repeat=len(NODES)):
        members = tuple(member(node, role) for node, role in zip(NODES, roles, strict=True) if role is not None)
        if is_allowed(members):
            yield configuration(*members)


def is_allowed(members):
    """Somebody can lead, and a quorum is left where all witnesses are gone."""
    voters = [one.id for one in members if one.role != "learner"]
    witnesses = {one.id for one in members if one.role == "witness"}
    others = set(voters) - witnesses
    return bool(others) and any(set(chosen) <= others for chosen in majorities(voters))


def majorities(voters):
    return [chosen for size in range(len(voters) // 2 + 1, len(voters) + 1) for chosen in combinations(voters, size)]


def decides(one, nodes):
    """Whether these nodes can decide alone: a majority of each half."""
    halves = [half for half in (one.voters(), one.outgoing) if half]
    return all(2 * len(nodes & set(half)) > len(half) for half in halves)


def wishes():
    for node in NODES:
        yield from (Remove(node), Promote(node), Demote(node))
        yield from (Add(member(node, role)) for role in ("voter", "learner", "witness"))


REQUESTS = [(one,) for one in wishes()] + [
    (one, other)
    for one, other in product(wishes(), repeat=2)
    if (one.member.id if isinstance(one, Add) else one.id) < (other.member.id if isinstance(other, Add) else other.id)
]


def roles_after(current, changes):
    """What the changes lead to, or None if one of them cannot be made."""
    roles = {one.id: one.role for one in current.members}
    for one in changes:
        node = one.member.id if isinstance(one, Add) else one.id
        role = roles.get(node)
        if isinstance(one, Add):
            if role is None:
                roles[node] = one.member.role
            elif role != one.member.role and (role, one.member.role) != ("learner", "voter"):
                return None
        elif isinstance(one, Remove):
            if role is None:
                return None
            del roles[node]
        else:
            before, after = ("learner", "voter") if isinstance(one, Promote) else ("voter", "learner")
            if role != before:
                return None
            roles[node] = after
    return roles


@pytest.mark.parametrize("current", list(clusters()), ids=str)
def test_every_change(current):
    everybody = [set(chosen) for size in range(1, 5) for chosen in combinations(NODES, size)]
    for changes in REQUESTS:
        wanted = roles_after(current, changes)
        same = wanted == {one.id: one.role for one in current.members}
        if wanted is None or same or not is_allowed([member(node, role) for node, role in wanted.items()]):
            with pytest.raises(ChangeRefusedError):
                change(current, changes)
            continue
        steps = change(current, changes)
        assert wanted == {one.id: one.role for one in steps[-1].members}
        assert not steps[-1].outgoing
        assert is_allowed(steps[-1].members)
        for before, after in zip((current, *steps), steps, strict=False):
            for deciding in everybody:
                if decides(before, deciding):
                    others = set(NODES) - deciding
                    assert not decides(after, others), f"{changes}: {deciding} and {others} decide apart"
        if len(steps) == 2:
            joint, final = steps
            assert joint.outgoing == current.voters()
            assert joint.voters() == final.voters()
            assert {one.id for one in joint.members} == {one.id for one in (*current.members, *final.members)}


@pytest.mark.parametrize(
    ("changes", "kind", "detail"),
    [
        ((), "empty", ()),
        ((Remove(0),), "zero_id", ()),
        ((Remove(2), Demote(2)), "duplicate", (2,)),
        ((Remove(9),), "unknown_member", (9,)),
        ((Promote(1),), "not_a_learner", (1,)),
        ((Demote(3),), "not_a_voter", (3,)),
        ((Add(member(2, "learner")),), "role_of_member", (2,)),
        ((Promote(4),), "witness_role", (4,)),
        ((Demote(4),), "witness_role", (4,)),
        ((Add(member(4, "witness", incarnation=99)),), "witness_role", (4,)),
        ((Add(member(5, "learner", incarnation=None)), Promote(5)), "duplicate", (5,)),
        ((Remove(1), Remove(2)), "no_voter_left", ()),
        ((Add(member(5, "witness")), Add(member(6, "witness"))), "too_many_witnesses", (3, 2)),
        ((Add(member(2)),), "no_change", ()),
    ],
)
def test_what_is_refused_and_why(changes, kind, detail):
    current = configuration(member(1), member(2), member(3, "learner"), member(4, "witness"))
    with pytest.raises(ChangeRefusedError) as refused:
        change(current, changes)
    assert refused.value.why == (kind, detail)
    assert str(refused.value)


def test_who_was_never_seen_is_not_promoted():
    with pytest.raises(ChangeRefusedError) as refused:
        change(configuration(member(1), member(2, "learner", incarnation=None)), (Promote(2),))
    assert refused.value.why == ("not_seen", (2,))


def test_no_change_within_a_change():
    current = configuration(member(1), member(2))._replace(outgoing=(1, 2, 3))
    with pytest.raises(ChangeRefusedError) as refused:
        change(current, (Remove(2),))
    assert refused.value.why == ("in_flight", (0,))


def test_a_newcomer_votes_once_it_has_caught_up():
    (step,) = change(configuration(member(1)), (Add(member(2, auto_promote=True)),))
    assert step.member(2) == member(2, "learner", auto_promote=True)


def test_a_voter_on_another_disk_begins_as_a_learner():
    current = configuration(member(1), member(2), member(3))
    (step,) = change(current, (Add(member(3, incarnation=33)),))
    assert step.member(3) == member(3, "learner", incarnation=33)


def test_a_vote_of_a_former_self_counts_for_nobody():
    current = configuration(member(1), member(2), member(3))
    joint, final = change(current, (Add(member(3, incarnation=33)), Add(member(4))))
    assert joint.outgoing == (1, 2, 3)
    assert joint.member(3) == final.member(3) == member(3, "learner", incarnation=None)
    assert final.voters() == (1, 2, 4)


def test_who_leaves_stays_till_the_joint_phase_ends():
    current = configuration(member(1), member(2), member(3))
    joint, final = change(current, (Remove(2), Remove(3)))
    assert [one.id for one in joint.members if one.leaving] == [2, 3]
    assert joint.voters() == (1,)
    assert [one.id for one in final.members] == [1]
