"""Elections: PreVote, votes, and when they are withheld (sections 5.2 and 5.4.1, thesis 6.4 and 9.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from d_engine.pure.configuration import Configuration
from d_engine.pure.message import Message, PreVote, PreVoteReply, Vote, VoteReply
from d_engine.pure.quorum import VoteResult, vote_result
from d_engine.pure.types import U64, Micros, NodeId

from . import leader, membership, terms

if TYPE_CHECKING:
    from . import Core


HIGHEST_RANK: Final = 3
"""Who has more preferences above its own waits no longer than this many make it."""


def reset_election_timer(core: Core) -> None:
    """Draws a new election timeout, from now on."""
    low, high = core.settings.election_timeout
    core.election_at = core.now + core.rank * max(high - low, 0) + core.rng.between(low, high)


def rank_of_priority(core: Core) -> int:
    """Distinct preferences above the own one among those that may lead: who is preferred campaigns first. A vote does not ask."""
    own = core.configurations.members.get(core.id)
    if own is None:
        return 0
    leads = [
        member.priority for member in core.configurations.current.members if member.votes() and member.role == "voter"
    ]
    return min(len({priority for priority in leads if priority > own.priority}), HIGHEST_RANK)


def may_campaign(core: Core) -> bool:
    """Whether this node could lead: by any configuration that may still be in force, for until its removal is committed it may be the only one that
    can commit it (thesis 4.2.2, figure 4.6)."""
    if core.apply_stopped or core.storage_stalled or core.closing:
        return False
    return any(_is_candidate_of(core, configuration) for configuration in core.configurations.in_force())


def _is_candidate_of(core: Core, configuration: Configuration) -> bool:
    """On another disk than the one that the cluster knows, nobody counts its messages, not even itself."""
    member = configuration.member(core.id)
    if member is None or member.role == "witness" or not configuration.is_voter(core.id):
        return False
    return member.incarnation is None or member.incarnation == core.incarnation


def election_timed_out(core: Core) -> None:
    """No leader was heard of. Who cannot campaign at least sends nothing more to the one that is gone."""
    if may_campaign(core):
        pre_campaign(core)
    else:
        terms.become_follower(core, None)


def min_election_timeout(core: Core) -> Micros:
    """The cluster's, which leases rest on. A node that joins does not know it yet, but must not break a lease either."""
    current = core.configurations.current
    return current.min_election_timeout if current.members else core.settings.election_timeout[0]


def pre_campaign(core: Core) -> None:
    """Would we be elected? Nothing changes yet, so that a cut-off node does not push up the others' terms (thesis 9.6)."""
    terms.become_follower(core, None)
    reset_election_timer(core)
    core.seen.clear()
    core.seen[core.id] = core.incarnation
    core.role = "pre_candidate"
    core.votes = {core.id: True}
    last = core.log.last_id()
    token = core.durability.hard_state_token
    for voter in other_voters(core):
        core.send_in(core.term + 1, voter, PreVote(last), token)
    _count_pre_votes(core)


def campaign(core: Core, *, transfer: bool) -> None:
    """Asks for votes. The requests, and the vote for itself, wait until the term is on disk."""
    terms.enter_term(core, core.term + 1, core.id)
    reset_election_timer(core)
    if transfer:
        core.seen.clear()
    core.seen[core.id] = core.incarnation
    core.role = "candidate"
    core.votes = {}
    last = core.log.last_id()
    for voter in other_voters(core):
        core.send(voter, Vote(last, transfer))
    core.send(core.id, VoteReply(granted=True))


def withholds_vote(core: Core, candidate: NodeId) -> bool:
    """Whether votes are refused because a leader is there, or may still rely on this node (thesis 6.4)."""
    if core.role == "leader":
        until = lease_until(core)
        return until is not None and core.now < until
    if core.heard is not None:
        known, heard = core.heard
        # A leader that has stepped down may be elected again at once (hashicorp #606).
        if known != candidate and core.now < heard + min_election_timeout(core):
            return True
    return core.now < core.withhold_until


def pre_vote_asked(core: Core, message: Message, body: PreVote) -> None:
    """Answers whether this node would vote, if it may answer at all."""
    sender, term = message.sender, message.term
    if withholds_vote(core, sender):
        return
    if term > core.term and body.last >= core.log.last_id():
        # In the term that was asked for: this node has not entered it and promises nothing.
        core.send_in(term, sender, PreVoteReply(granted=True), core.durability.hard_state_token)
    else:
        core.send(sender, PreVoteReply(granted=False))


def pre_vote_replied(core: Core, message: Message, body: PreVoteReply) -> None:
    """That member would vote for this node in the message's term, or would not."""
    if core.role != "pre_candidate" or (body.granted and message.term != core.term + 1):
        return
    core.votes[message.sender] = body.granted
    if body.granted:
        core.seen[message.sender] = message.incarnation
    _count_pre_votes(core)


def _count_pre_votes(core: Core) -> None:
    result = _tally(core)
    if result == "won":
        campaign(core, transfer=False)
    elif result == "lost":
        terms.become_follower(core, None)


def vote_asked(core: Core, message: Message, body: Vote) -> None:
    """The vote of this term, once: to a candidate whose log is at least as up-to-date (section 5.4.1)."""
    sender = message.sender
    free = core.leader is None and core.vote is None
    withheld = not body.transfer and withholds_vote(core, sender)
    if core.vote == sender:
        core.send(sender, VoteReply(granted=True))
    elif free and not withheld and body.last >= core.log.last_id():
        # Whoever was asking for itself gives way.
        terms.become_follower(core, None)
        core.vote = sender
        core.hard_state_changed()
        reset_election_timer(core)
        core.send(sender, VoteReply(granted=True))
    else:
        core.send(sender, VoteReply(granted=False))


def vote_replied(core: Core, message: Message, body: VoteReply) -> None:
    """That member has voted for this node in this term, or not."""
    if core.role != "candidate":
        return
    core.votes[message.sender] = body.granted
    if body.granted:
        core.seen[message.sender] = message.incarnation
    result = _tally(core)
    if result == "won":
        leader.become_leader(core)
    elif result == "lost":
        terms.become_follower(core, None)


def _tally(core: Core) -> VoteResult:
    """A quorum of recorded data directories elects, for another one could be a wiped one that has forgotten a vote. Or every voter does, recorded or
    not, since that holds whatever quorum there was: so a cluster forms, and so one comes back whose new voter no leader has lived to record."""
    configurations, votes = core.configurations, core.votes
    if all(votes.get(voter) for voter in configurations.voters + configurations.outgoing):
        return "won"
    counted = {node: yes for node, yes in votes.items() if not yes or configurations.current.is_recorded(node)}
    return vote_result(counted, configurations.voters, configurations.outgoing)


def other_voters(core: Core) -> list[NodeId]:
    """All that vote, in either half, but for this node; ascending."""
    return sorted({*core.configurations.voters, *core.configurations.outgoing} - {core.id})


def lease_until(core: Core) -> Micros | None:
    """Until when this leader may answer reads by its lease (thesis 6.4.1); `None` if it has none."""
    leadership = core.leadership
    if leadership is None or core.storage_stalled or leadership.handed_over or leadership.confirmed_at is None:
        return None
    if membership.has_no_vote(core):
        # The others decide without it, and may know that.
        return None
    minimum = core.configurations.current.min_election_timeout
    drift = -(-min(minimum * core.settings.drift_ppm, U64) // 1_000_000)
    return leadership.confirmed_at + minimum - min(drift, minimum)
