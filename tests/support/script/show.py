"""Effects and messages as the lines of a script, and the same lines read back."""

import re

from d_engine.pure import (
    Accepted,
    Append,
    Apply,
    Changed,
    ChangeError,
    ChangeRefused,
    ChangeReply,
    Changing,
    Closed,
    Configured,
    Fetch,
    Forwarded,
    ForwardedChange,
    ForwardedPropose,
    Heartbeat,
    HeartbeatReply,
    LogId,
    NotCatchingUp,
    Persist,
    PreVote,
    PreVoteReply,
    Proposal,
    Proposed,
    ProposeReply,
    PurgeLog,
    ReadIndex,
    ReadIndexReply,
    ReadReady,
    Refused,
    Rejected,
    Removed,
    Restore,
    Send,
    SendSnapshot,
    SnapshotReply,
    StaleSnapshot,
    StorageStalled,
    TimeoutNow,
    Transferred,
    Vote,
    VoteReply,
    WipedMember,
)
from d_engine.pure.configuration import decode
from support.sim.make import entry, incarnation

QUIET = {Persist, Send, Apply, Fetch, PurgeLog, Restore}  # left out where only the end of a matter counts


def place(at):
    return f"{at.index}@{at.term}"


def configuration(one):
    """`1 2 3? 4:learner 5:witness, 2 3 going` — `?`: its incarnation is not on record; behind the comma the old half."""
    words = []
    for member in one.members:
        word = str(member.id) + ("" if member.role == "voter" else f":{member.role}")
        word += "?" if member.incarnation is None else ""
        words.append(word + (" (leaving)" if member.leaving else ""))
    text = " ".join(words) or "nobody"
    return text + (f" | {' '.join(map(str, one.outgoing))}" if one.outgoing else "")


def record(one):
    """`4@2 "text"`, `4@2 noop`, `4@2 configuration 1 2 3`."""
    if one.kind == "command":
        data = one.data.decode(errors="replace")
        what = f'"{data}"' if len(data) < 40 else f'"{data[:8]}..." of {len(data)} bytes'
    elif one.kind == "configuration":
        try:
            what = f"configuration {configuration(decode(one.data))}"
        except ValueError:
            what = "configuration unreadable"
    else:
        what = one.kind
    return f"{place(one)} {what}"


def records(entries):
    return ", ".join(map(record, entries))


def life(number):
    """A data directory as `node` or, after wipes, `node'`."""
    node, lives = number >> 64, (number >> 16) & 0xFFFF_FFFF
    return str(node) + "'" * lives if number == incarnation(node, lives) else f"{number:x}"


def result(value):
    if isinstance(value, LogId):
        return f"at {place(value)}"
    if isinstance(value, ChangeError):
        return f"no, {change_error(value)}"
    return f"no, {value}" if isinstance(value, str) else f"at {value}"


def change_error(error):
    return " ".join([error.kind, *map(str, error.detail)])


def wish(change):
    """A membership change as it is written in a script."""
    word = type(change).__name__.lower()
    if word != "add":
        return f"{word} {change.id}"
    return f"add {change.member.id} {change.member.role}"


BODIES = {
    PreVote: lambda it: f"pre-vote {place(it.last)}",
    PreVoteReply: lambda it: f"pre-vote {'granted' if it.granted else 'refused'}",
    Vote: lambda it: f"vote {place(it.last)}{' by transfer' if it.transfer else ''}",
    VoteReply: lambda it: f"vote {'granted' if it.granted else 'refused'}",
    Append: lambda it: (
        f"append after {place(it.prev)} commit {it.commit}" + (f": {records(it.entries)}" if it.entries else "")
    ),
    Accepted: lambda it: f"accepted {it.matched}",
    Rejected: lambda it: f"rejected {it.prev} hint {place(it.hint)}",
    Heartbeat: lambda it: f"heartbeat {it.round} commit {it.commit}",
    HeartbeatReply: lambda it: f"heard {it.round} last {it.last}{' apply stopped' if it.apply_stopped else ''}",
    SnapshotReply: lambda it: f"snapshot held {it.matched}",
    TimeoutNow: lambda it: f"timeout-now {life(it.target)}",
    ForwardedPropose: lambda it: f"propose {it.id}: {', '.join(repr(one.data.decode()) for one in it.entries)}",
    ProposeReply: lambda it: f"proposed {it.id} {result(it.result)}",
    ReadIndex: lambda it: f"read {it.id}{' by lease' if it.lease else ''}",
    ReadIndexReply: lambda it: f"read {it.id} {result(it.result)}",
    ForwardedChange: lambda it: f"change {it.id}: {', '.join(map(wish, it.changes))}",
    ChangeReply: lambda it: f"change {it.id} {result(it.result)}",
}


def message(one):
    term = f" t{one.term}" if one.term else ""
    return f"{one.sender} > {one.to}{term} {BODIES[type(one.body)](one.body)}"


def persist(it):
    parts = []
    if it.hard_state is not None:
        vote = it.hard_state.vote
        parts.append(f"term {it.hard_state.term}" + ("" if vote is None else f" vote {vote}"))
    if it.reset_to is not None:
        parts.append(f"reset to {place(it.reset_to)}")
    if it.truncate_from is not None:
        parts.append(f"cut from {it.truncate_from}")
    if it.entries:
        parts.append(records(it.entries))
    return f"persist #{it.token}: {'; '.join(parts)}"


def changed(it):
    if it.role == "leader":
        return f"leads term {it.term}"
    if it.role == "follower" and it.leader is not None:
        return f"follows {it.leader} in term {it.term}"
    return f"{it.role.replace('_', '-')} in term {it.term}"


EFFECTS = {
    Persist: persist,
    Fetch: lambda it: f"fetch #{it.id}: {it.lo}..{it.hi}",
    Apply: lambda it: f"apply {records(it.entries)}",
    Restore: lambda it: f"restore {place(it.last)}",
    PurgeLog: lambda it: f"purge up to {place(it.upto)}",
    SendSnapshot: lambda it: f"send a snapshot of {it.at_least} or later to {it.to}",
    Proposed: lambda it: f"request {it.id} stands at {place(it.at)}",
    Forwarded: lambda it: f"request {it.id} forwarded to {it.to}",
    Refused: lambda it: f"request {it.id} refused: {it.why}",
    ReadReady: lambda it: f"read {it.id} ready at {it.index}",
    Transferred: lambda it: (
        f"request {it.id} transferred " + (f"to {it.to}" if isinstance(it.to, int) else f"not: {it.to}")
    ),
    Changing: lambda it: f"change {it.id} stands at {place(it.at)}",
    ChangeRefused: lambda it: f"change {it.id} refused: {change_error(it.why)}",
    Closed: lambda _: "closed",
    Changed: changed,
    Configured: lambda it: f"configuration of {it.index}: {configuration(it.configuration)}",
    WipedMember: lambda it: f"member {it.id} is not who it was: {life(it.expected)}, now {life(it.found)}",
    StorageStalled: lambda it: "storage stalls" if it.stalled else "storage answers again",
    StaleSnapshot: lambda it: f"stale snapshot {place(it.last)}",
    NotCatchingUp: lambda it: f"member {it.id} does not catch up",
    Removed: lambda _: "removed",
}


def effect(node, it):
    return message(it.message) if type(it) is Send else f"{node}: {EFFECTS[type(it)](it)}"


# --- read back


def read_place(text):
    index, term = text.split("@")
    return LogId(term=int(term), index=int(index))


ENTRY = re.compile(r'(\d+)@(\d+) (?:"([^"]*)"|(noop))')


def read_entries(text):
    found = []
    for index, term, data, noop in ENTRY.findall(text):
        made = entry(int(index), int(term), b"" if noop else data.encode(), "noop" if noop else "command")
        found.append(made)
    return tuple(found)


def read_result(words):
    if words[0] == "at":
        return read_place(words[1]) if "@" in words[1] else int(words[1])
    return words[1]


def read_life(text):
    return incarnation(int(text.rstrip("'")), text.count("'"))


READERS = {
    r"pre-vote (granted|refused)": lambda it: PreVoteReply(it[1] == "granted"),
    r"pre-vote (\S+)": lambda it: PreVote(read_place(it[1])),
    r"vote (granted|refused)": lambda it: VoteReply(it[1] == "granted"),
    r"vote (\S+)( by transfer)?": lambda it: Vote(read_place(it[1]), it[2] is not None),
    r"append after (\S+) commit (\d+)(?:: (.*))?": lambda it: Append(
        read_place(it[1]), int(it[2]), read_entries(it[3] or "")
    ),
    r"accepted (\d+)": lambda it: Accepted(int(it[1])),
    r"rejected (\d+) hint (\S+)": lambda it: Rejected(int(it[1]), read_place(it[2])),
    r"heartbeat (\d+) commit (\d+)": lambda it: Heartbeat(int(it[1]), int(it[2])),
    r"heard (\d+) last (\d+)( apply stopped)?": lambda it: HeartbeatReply(int(it[1]), int(it[2]), it[3] is not None),
    r"snapshot held (\d+)": lambda it: SnapshotReply(int(it[1])),
    r"timeout-now (\S+)": lambda it: TimeoutNow(read_life(it[1])),
    r"propose (\d+): (.*)": lambda it: ForwardedPropose(
        int(it[1]), tuple(Proposal("command", 0, 0, 0, data.encode()) for data in re.findall(r"'([^']*)'", it[2]))
    ),
    r"proposed (\d+) (.*)": lambda it: ProposeReply(int(it[1]), read_result(it[2].replace("no, ", "no ").split())),
    r"read (\d+)( by lease)?": lambda it: ReadIndex(int(it[1]), it[2] is not None),
    r"read (\d+) (at|no,) (\S+)": lambda it: ReadIndexReply(int(it[1]), int(it[3]) if it[2] == "at" else it[3]),
}


def read_body(text):
    """What `message` wrote behind the term."""
    for pattern, make in READERS.items():
        found = re.fullmatch(pattern, text)
        if found:
            return make(found)
    raise ValueError(f"not a message: {text!r}")
