"""What came of a step, in few words: the columns of the table that says what the streams have reached."""

from d_engine.pure import (
    Changed,
    ChangeRefused,
    ChangeReply,
    Heartbeat,
    HeartbeatReply,
    LogId,
    Persist,
    PreVoteReply,
    ProposeReply,
    ReadIndexReply,
    Receive,
    Refused,
    Rejected,
    Send,
    Time,
    Transferred,
    VoteReply,
)

OUTCOMES = {
    "changed": "role, term or leader is another one",
    "refused": "somebody is told no",
    "stored": "something is to be written",
    "acted": "anything else is to be done: a message, an answer, entries to apply or to read, an event",
    "silent": "nothing is to be done",
}
ROLES = ("follower", "pre_candidate", "candidate", "leader")
CLOSED = "closed"  # no role: nothing comes of any input any more
_NAMES = tuple(OUTCOMES)
_ANSWERS = {PreVoteReply, VoteReply}
_RESULTS = {ProposeReply, ReadIndexReply, ChangeReply}


def _rank(effect):
    kind = type(effect)
    if kind is Send:
        body = effect.message.body
        kind = type(body)
        if kind is Rejected or (kind in _ANSWERS and not body.granted):
            return 1
        return 1 if kind in _RESULTS and not is_value(body.result) else 3
    if kind is Changed:
        return 0
    if kind is Refused or kind is ChangeRefused or (kind is Transferred and isinstance(effect.to, str)):
        return 1
    return 2 if kind is Persist else 3


def is_value(result):
    """Whether a result is a place or an index, and no refusal."""
    return type(result) is LogId or type(result) is int


def outcome(effects):
    return _NAMES[min(map(_rank, effects))] if effects else "silent"


def kind_of(given):
    """The kind of an input; a message's is what it says."""
    kind = type(given)
    return type(given.message.body).__name__ if kind is Receive else kind.__name__


_BEATS = {Heartbeat, HeartbeatReply}


def is_idle(given, effects):
    """A heartbeat, its answer, or a timer, of which nothing came but the same."""
    kind = type(given)
    if kind is not Time and (kind is not Receive or type(given.message.body) not in _BEATS):
        return False
    return all(type(effect) is Send and type(effect.message.body) in _BEATS for effect in effects)
