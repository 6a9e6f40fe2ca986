"""Cells of the table that no stream can reach, each with its reason.

A cell is reached by the first outcome that fits: what is refused while the role changes, for one, counts as changed.
"""

LOCAL = {"Applied", "Fetched", "Purge", "SnapshotTaken", "SnapshotSent", "Unreachable", "ApplyStopped", "Close"}
REQUESTS = {"Propose", "Read", "ChangeMembers", "Transfer"}
TERMLESS = {
    "ForwardedPropose",
    "ProposeReply",
    "ReadIndex",
    "ReadIndexReply",
    "ForwardedChange",
    "ChangeReply",
    "PreVote",
}
UNANSWERED = LOCAL | {
    "Accepted",
    "Rejected",
    "SnapshotReply",
    "Heartbeat",
    "HeartbeatReply",
    "TimeoutNow",
    "PreVoteReply",
    "VoteReply",
    "SnapshotReceived",
}
WRITES = {"Append", "Vote", "SnapshotReceived"}


def why_not(role, kind, outcome):
    """Why this cannot be; None if it can."""
    return _OUTCOMES[outcome](role, kind)


def _changed(role, kind):
    if kind in LOCAL:
        return "what the local side reports moves no role"
    if kind in REQUESTS:
        return "what a user asks for moves no role at once"
    if kind in TERMLESS:
        return "a request, its answer and a pre-vote belong to no term that anybody has entered"
    if kind == "Persisted" and role in {"follower", "pre_candidate"}:
        return "what waited for the disk there are messages to others"
    return None


def _refused(role, kind):
    if kind in UNANSWERED:
        return "nobody waits for an answer to it; what is refused by a leader that gives way counts as changed"
    if kind == "PersistFailed":
        return "a node whose storage has failed says nothing any more"
    if role == "leader" and kind in {"Read", "ReadIndex"}:
        return "a leader refuses a read only when 4,096 wait"
    return None


def _stored(role, kind):
    if role in {"pre_candidate", "candidate"} and kind != "SnapshotReceived":
        return "one that asks for votes writes nothing without becoming something else"
    if role == "follower" and kind not in WRITES:
        return "a follower writes a leader's entries, a vote or a snapshot; with a newer term it counts as changed"
    if role != "leader":
        return None
    if kind == "SnapshotReceived":
        return "a leader takes no snapshot of its own term, and a newer term makes it a follower"
    if kind == "Vote":
        return "a leader answers a vote of its term with a refusal, and one that it withholds says nothing"
    if kind == "PersistFailed":
        return "a node whose storage has failed says nothing any more"
    if kind in {"ApplyStopped", "Close"}:
        return "a leader that closes or cannot apply promotes nobody"
    return None


def _acted(role, kind):
    if kind == "PersistFailed":
        return "a node whose storage has failed says nothing any more"
    if kind == "Unreachable":
        return "nothing is sent to a lost member before it has answered a heartbeat"
    if kind == "SnapshotTaken":
        return "a snapshot of its own lets a node forget, when the driver says so (Purge)"
    if role == "leader":
        return "a leader stores it or refuses it" if kind in {"Propose", "ChangeMembers"} else None
    if kind in {"ApplyStopped", "SnapshotSent"}:
        return "only a leader gives leadership away, or has followers"
    if kind == "Transfer" or (kind in REQUESTS and role != "follower"):
        return "no leader is known, or this is not it: refused"
    return None


def _silent(role, kind):
    if kind in {"Propose", "ChangeMembers"} or (kind in {"Read", "Transfer", "Close"} and role != "leader"):
        return "every request is answered at once or passed on"
    if kind == "PersistFailed" and role != "follower":
        return "it makes a follower of a node that was more"
    if kind == "SnapshotReceived" and role == "leader":
        return "a leader says that it is stale, or enters its term"
    return None


_OUTCOMES = {"changed": _changed, "refused": _refused, "stored": _stored, "acted": _acted, "silent": _silent}
