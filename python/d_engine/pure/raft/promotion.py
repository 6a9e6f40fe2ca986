"""Learners become voters by themselves once they have caught up (thesis 4.2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from d_engine.pure.change import ChangeRefusedError, Promote, change
from d_engine.pure.configuration import Configuration
from d_engine.pure.effect import NotCatchingUp
from d_engine.pure.progress import CatchUp, Progress
from d_engine.pure.types import Index, Micros, NodeId

from . import election, membership

if TYPE_CHECKING:
    from . import Core
    from .leader import Leadership

ROUNDS: Final = 10
"""Rounds after which a learner that still falls behind is left alone for a while."""
PAUSE: Final = 10
"""That while, in election timeouts."""

_Standing: TypeAlias = Literal["away", "catching", "caught_up", "fallen_behind"]
"""How a learner stands.

away: it is not there, or is left alone; catching: a round is under way; caught_up: a round has taken less than the shortest election timeout: what it
lacks as a voter, nobody will notice; fallen_behind: the last round was too long again.
"""


def promotable(configuration: Configuration) -> tuple[NodeId, ...]:
    """Learners that are to be voters and whose data directory is recorded."""
    return tuple(
        member.id
        for member in configuration.members
        if member.role == "learner" and member.auto_promote and not member.leaving and member.incarnation is not None
    )


def advance_promotion(core: Core, leadership: Leadership) -> None:
    """Looks after the learners that are to be promoted; all that have caught up are promoted together."""
    learners = [(node, leadership.followers[node]) for node in leadership.promotable if node in leadership.followers]
    if membership.check_may_change(core) is not None:
        # What was measured will be old when a change may begin.
        for _, learner in learners:
            learner.catch_up = None
        return
    ready: list[tuple[NodeId, Progress]] = []
    for node, learner in learners:
        standing = _catch_up(core, learner)
        if standing == "caught_up":
            ready.append((node, learner))
        elif standing == "fallen_behind":
            core.event(NotCatchingUp(node))
    if ready:
        _promote(core, ready)


def _catch_up(core: Core, learner: Progress) -> _Standing:
    """One learner's rounds."""
    patience = core.settings.election_timeout[1]
    there = learner.heard is not None and learner.heard + patience > core.now and not learner.apply_stopped
    if not there or core.now < learner.pause_until:
        learner.catch_up = None
        return "away"
    standing = _advance_round(learner, core.now, core.log.last, election.min_election_timeout(core))
    if standing == "fallen_behind":
        learner.pause_until = core.now + PAUSE * patience
    return standing


def _advance_round(learner: Progress, now: Micros, last: Index, fast: Micros) -> _Standing:
    """A round begins with what the log holds then, and ends when the learner holds that."""
    if learner.catch_up is None:
        learner.catch_up = CatchUp(last, now, 1)
    target, since, rounds = learner.catch_up
    if learner.matched < target:
        return "catching"
    if now - since < fast:
        return "caught_up"
    if rounds >= ROUNDS:
        learner.catch_up = None
        return "fallen_behind"
    learner.catch_up = CatchUp(last, now, rounds + 1)
    return "catching"


def _promote(core: Core, ready: list[tuple[NodeId, Progress]]) -> None:
    """All of them in one change. What cannot be is not tried again at every step."""
    try:
        steps = change(core.configurations.current, [Promote(node) for node, _ in ready])
    except ChangeRefusedError:
        for _, learner in ready:
            learner.pause_until = core.now + PAUSE * core.settings.election_timeout[1]
    else:
        membership.append_configuration(core, steps[0])
