"""A leader's state and its timers: heartbeats, the check for a quorum, the commit index (sections 5.2 and 5.4.2, thesis 6.2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from d_engine.pure import configuration
from d_engine.pure.entry import HEADER_BYTES, Draft, Entry, Proposal
from d_engine.pure.message import Heartbeat, HeartbeatReply, Message
from d_engine.pure.progress import Progress
from d_engine.pure.quorum import committed_index
from d_engine.pure.reads import Reads
from d_engine.pure.types import Index, LogId, Micros, NodeId

from . import membership, promotion, reads, replication, terms, transfer

if TYPE_CHECKING:
    from . import Core


class Leadership:
    """What only a leader has."""

    __slots__ = (
        "confirmed_at",
        "first",
        "followers",
        "handed_over",
        "heartbeat_at",
        "held_more",
        "notice_at",
        "promotable",
        "reads",
        "round",
        "since",
        "uncommitted",
        "uncommitted_bytes",
        "unconfirmed",
    )

    def __init__(self, followers: dict[NodeId, Progress], first: Index, now: Micros) -> None:
        self.followers = followers
        """The other members, ascending."""
        self.first = first
        """The term's first entry: before it is committed, nothing is known of what is."""
        self.since = now
        """When this leadership began."""
        self.round = 0
        """The newest heartbeat round sent."""
        self.unconfirmed: deque[tuple[int, Micros]] = deque()
        """Rounds that no quorum has answered, with the moment each was sent."""
        self.confirmed_at: Micros | None = None
        """When the newest round that a quorum has answered was sent: a lease begins there."""
        self.heartbeat_at = now
        """When the next round is due."""
        self.notice_at: Micros | None = None
        """When followers that had no append since are told of a new commit index."""
        self.reads = Reads()
        """Reads that wait for a round."""
        self.handed_over = False
        """`TimeoutNow` was sent in this term: no lease any more."""
        self.uncommitted: deque[tuple[Index, int]] = deque()
        """Ends and sizes of what was appended and is not committed."""
        self.uncommitted_bytes = 0
        """Their sum."""
        self.promotable: tuple[NodeId, ...] = ()
        """Learners that are to become voters by themselves."""
        self.held_more = True
        """Somebody holds more, durably, or other voters count: more may be committed."""


def become_leader(core: Core) -> None:
    """This node has won the election of its term."""
    first = core.log.last + 1
    current = core.configurations.current
    followers = {member.id: Progress(first, member.incarnation) for member in current.members if member.id != core.id}
    core.role = "leader"
    core.leader = core.id
    core.votes = {}
    core.leadership = leadership = Leadership(followers, first, core.now)
    leadership.promotable = promotion.promotable(current)
    transfer.transfer_ended(core, core.id)
    _append_first_entry(core)
    start_round(core, leadership)


def _append_first_entry(core: Core) -> None:
    """The term's first entry: a no-op (section 8), or the configuration as long as it lacks an incarnation that is known now."""
    recorded = core.configurations.current
    for node, incarnation in core.seen.items():
        recorded = recorded.record(node, incarnation)
    if recorded is not core.configurations.current:
        membership.append_configuration(core, recorded)
    else:
        append_own(core, (Proposal("noop", 0, 0, 0, b""),))


def append_own(core: Core, draft: Draft) -> LogId:
    """Stamps entries, puts them at the end of the log and on their way to the disk."""
    log, term = core.log, core.term
    first = log.last + 1
    time = max(log.last_time, core.wall)
    entries: list[Entry] = []
    bytes_ = 0
    for index, (kind, session, sequence, ack_below, data) in enumerate(draft, first):
        entries.append(Entry(index, term, kind, time, session, sequence, ack_below, data))
        bytes_ += HEADER_BYTES + len(data)
    take_entries(core, tuple(entries))
    leadership = core.leadership
    if leadership is not None and bytes_:
        leadership.held_more = True
        leadership.uncommitted.append((log.last, bytes_))
        leadership.uncommitted_bytes += bytes_
    return LogId(term, first)


def take_entries(core: Core, entries: tuple[Entry, ...]) -> None:
    """Entries join the log, a leader's or a follower's; configurations take effect (section 6)."""
    core.log.append(entries)
    core.durability.stage_entries(entries)
    for entry in entries:
        if entry.kind == "configuration":
            # `plausible` has refused the messages whose memberships cannot be read.
            core.configurations.push(entry.index, configuration.decode(entry.data))
            membership.configured(core)


def lead(core: Core, leadership: Leadership) -> None:
    """What a leader does behind every step that may have moved something."""
    if leadership.held_more:
        _advance_commit(core, leadership)
    membership.advance_membership(core)
    if leadership.promotable and core.leadership is not None:
        promotion.advance_promotion(core, leadership)
    if core.transfer is not None and core.leadership is not None:
        transfer.advance_transfer(core, leadership)
    # It may have given way by now.
    if core.leadership is not None:
        if leadership.reads.waiting:
            reads.start_read_round(core, leadership)
        replication.replicate_all(core, leadership)


def leader_deadline(core: Core, leadership: Leadership) -> Micros:
    """When a leader's next timer fires."""
    deadline = min(leadership.heartbeat_at, _quorum_deadline(core, leadership))
    return deadline if leadership.notice_at is None else min(deadline, leadership.notice_at)


def _quorum_deadline(core: Core, leadership: Leadership) -> Micros:
    confirmed = leadership.confirmed_at
    return (leadership.since if confirmed is None else confirmed) + core.settings.election_timeout[1]


def leader_timers(core: Core, leadership: Leadership) -> None:
    """Fires what is due."""
    if core.now >= _quorum_deadline(core, leadership) and not core.alone():
        # A leader that no quorum hears must not go on promising (thesis 6.2).
        return terms.become_follower(core, None)
    if leadership.notice_at is not None and core.now >= leadership.notice_at:
        tell_commit(core, leadership, _everybody)
        leadership.notice_at = None
    if core.now >= leadership.heartbeat_at:
        membership.drop_those_who_left(core, leadership)
        start_round(core, leadership)
        transfer.retry_handover(core)
    return None


def start_round(core: Core, leadership: Leadership) -> None:
    """A round of heartbeats: keeps followers quiet, and confirms that this node still led when it was sent."""
    leadership.round += 1
    round_ = leadership.round
    leadership.unconfirmed.append((round_, core.now))
    leadership.heartbeat_at = core.now + core.settings.heartbeat_interval
    if core.commit >= leadership.first:
        leadership.reads.round_starts(round_, core.commit)
    for node, follower in leadership.followers.items():
        commit = min(core.commit, follower.matched)
        follower.commit_told = max(follower.commit_told, commit)
        leaving = follower.leaving
        if leaving is not None and leaving.told is None and commit >= leaving.index:
            follower.leaving = leaving._replace(told=round_)
        core.send(node, Heartbeat(round_, commit))
    confirm_rounds(core, leadership)


def heartbeat_replied(core: Core, message: Message, body: HeartbeatReply) -> None:
    """That follower follows, and says where its log ends."""
    leadership, sender = core.leadership, message.sender
    follower = leadership.followers.get(sender) if leadership is not None else None
    if leadership is None or follower is None or body.round > leadership.round:
        return
    follower.round = max(follower.round, body.round)
    follower.heard = core.now
    follower.apply_stopped = body.apply_stopped
    leaving = follower.leaving
    unanswered = follower.heard_end(body.last, core.now, core.settings.heartbeat_interval)
    if unanswered and not replication.send_append(core, sender, follower, follower.next - 1, (), 0):
        # What was sent is purged by now: `replicate` starts again from what it is known to hold.
        follower.probe(follower.matched + 1)
    if leaving is not None and leaving.told is not None and leaving.told <= body.round:
        del leadership.followers[sender]
        leadership.held_more = True
    confirm_rounds(core, leadership)


def confirm_rounds(core: Core, leadership: Leadership) -> None:
    """Lease, quorum check and reads all rest on one thing: the newest round that a quorum of each half has answered."""
    answered = {node: follower.round for node, follower in leadership.followers.items() if follower.known is not None}
    answered[core.id] = leadership.round
    round_ = committed_index(answered, core.configurations.voters, core.configurations.outgoing)
    unconfirmed = leadership.unconfirmed
    while unconfirmed and unconfirmed[0][0] <= round_:
        leadership.confirmed_at = unconfirmed.popleft()[1]
    for asker, index in leadership.reads.confirmed(round_):
        reads.answer_read(core, asker, index)


def _advance_commit(core: Core, leadership: Leadership) -> None:
    """Commits what a quorum of each half holds durably, if it is of this term: earlier terms' entries only follow it (section 5.4.2, figure 8)."""
    leadership.held_more = False
    log = core.log
    held = {node: follower.matched for node, follower in leadership.followers.items() if follower.known is not None}
    held[core.id] = log.durable
    index = min(committed_index(held, core.configurations.voters, core.configurations.outgoing), log.last)
    if index <= core.commit or log.term(index) != core.term:
        return
    core.commit = index
    core.configurations.committed(index)
    uncommitted = leadership.uncommitted
    while uncommitted and uncommitted[0][0] <= index:
        leadership.uncommitted_bytes -= uncommitted.popleft()[1]
    if leadership.notice_at is None:
        leadership.notice_at = core.now + core.settings.heartbeat_interval // 10


def tell_commit(core: Core, leadership: Leadership, whom: Callable[[Progress], bool]) -> None:
    """Tells followers how far they may apply, where nothing else has told them."""
    for node, follower in leadership.followers.items():
        commit = min(core.commit, follower.matched)
        if commit > follower.commit_told and whom(follower):
            follower.commit_told = commit
            core.send(node, Heartbeat(0, commit))


def _everybody(_: Progress) -> bool:
    return True


def abdicated(core: Core, leadership: Leadership) -> None:
    """This node leads no more."""
    for asker in leadership.reads.abandon():
        reads.answer_read(core, asker, "not_leader")
    replication.forget_fetches(core, for_apply=False)
    transfer.transfer_abdicated(core)
