"""Quorum arithmetic: one half at a time, never over the union of the halves of a joint configuration (section 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from .types import INFINITY, Index, NodeId

__all__ = ["VoteResult", "committed_index", "quorum", "vote_result"]

VoteResult: TypeAlias = Literal["won", "lost", "pending"]
"""How an election stands: a quorum of each half has granted; some half can no longer be won; votes are still missing."""


def quorum(voters: int) -> int:
    """Members of a quorum among so many voters."""
    return voters // 2 + 1


def committed_index(acked: Mapping[NodeId, Index], voters: Sequence[NodeId], outgoing: Sequence[NodeId] = ()) -> Index:
    """The highest number that a quorum of each half has reached. A half without voters constrains nothing."""
    committed = _half_committed(acked, voters)
    return min(committed, _half_committed(acked, outgoing)) if outgoing else committed


def vote_result(votes: Mapping[NodeId, bool], voters: Sequence[NodeId], outgoing: Sequence[NodeId] = ()) -> VoteResult:
    """Who has won, if anybody has. An absent vote is one that may still come. A half without voters is won."""
    halves = (_half_vote(votes, voters), _half_vote(votes, outgoing))
    if "lost" in halves:
        return "lost"
    return "pending" if "pending" in halves else "won"


def _half_committed(acked: Mapping[NodeId, Index], voters: Sequence[NodeId]) -> Index:
    if not voters:
        return INFINITY
    reached = sorted([acked.get(voter, 0) for voter in {*voters}])
    # Ascending: from this position on, a quorum stands at or above it.
    return reached[len(reached) - quorum(len(reached))]


def _half_vote(votes: Mapping[NodeId, bool], voters: Sequence[NodeId]) -> VoteResult:
    answers = [votes.get(voter) for voter in {*voters}]
    if not voters or answers.count(True) >= quorum(len(answers)):
        return "won"
    return "lost" if len(answers) - answers.count(False) < quorum(len(answers)) else "pending"
