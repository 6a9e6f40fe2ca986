"""One-line differences, each planted in one rule of the pure core: what lock step must find (`run.py --planted`).

Nothing here imports the pure core, so that a difference can be planted before that happens.
"""

from support.mutants import Edit, Mutant, plant

PLANTED = (
    ("quorum: half is enough", "quorum", "return voters // 2 + 1", "return (voters + 1) // 2"),
    (
        "commit: an earlier term's entry by counting",
        "raft.leader",
        "if index <= core.commit or log.term(index) != core.term:",
        "if index <= core.commit:",
    ),
    (
        "votes: a log as long is enough",
        "raft.election",
        "elif free and not withheld and body.last >= core.log.last_id():",
        "elif free and not withheld and body.last.index >= core.log.last:",
    ),
    ("votes: not withheld while a leader is heard", "raft.election", "if known != candidate and", "if known == 0 and"),
    (
        "elections: voters seen in an earlier one are remembered",
        "raft.election",
        'core.seen.clear()\n    core.seen[core.id] = core.incarnation\n    core.role = "pre',
        'core.seen[core.id] = core.incarnation\n    core.role = "pre',
    ),
    ("follower: commits beyond the append", "raft.follower", "min(commit, end)", "commit"),
    (
        "follower: acknowledges beyond the append",
        "raft.follower",
        "accept(core, sender, end)",
        "accept(core, sender, log.last)",
    ),
    (
        "follower: bears more than its disk does",
        "raft.follower",
        "return core.log.volatile_bytes > 2 *",
        "return core.log.volatile_bytes > 3 *",
    ),
    (
        "disk: a truncation leaves earlier tokens as they were",
        "durability",
        "earlier.upto = min(earlier.upto, start - 1)",
        "earlier.upto = max(earlier.upto, 0)",
    ),
    ("disk: a message leaves one token early", "durability", "if waits_for > token:", "if waits_for > token + 1:"),
    (
        "progress: any rejection of a probe counts",
        "progress",
        "stale = prev + 1 != self.next",
        "stale = prev + 1 > self.next",
    ),
    (
        "reads: a round for each",
        "reads",
        "return bool(self.waiting) and not self.confirming",
        "return bool(self.waiting)",
    ),
    (
        "lease: kept after TimeoutNow",
        "raft.election",
        "or leadership.handed_over",
        "or leadership is None",
    ),
    ("transfer: TimeoutNow from anybody", "raft.transfer", "and core.leader == message.sender and", "and"),
    (
        "snapshots: one that ends where the commit index is counts as new",
        "raft.snapshots",
        "if last.index <= core.commit:",
        "if last.index < core.commit:",
    ),
    ("log: agreement below the same term", "log", "if term <= at.term:", "if term < at.term:"),
    (
        "log: the tail is one entry too long",
        "log",
        "self.tail_bytes > self.tail_limit",
        "self.tail_bytes >= self.tail_limit",
    ),
    ("apply: before it is durable", "raft.apply", "upto = min(core.commit, log.durable)", "upto = core.commit"),
    (
        "configurations: the one at the cut stays",
        "configurations",
        "self.stack[-1][0] >= start",
        "self.stack[-1][0] > start",
    ),
    (
        "leader: tells the commit index a little earlier",
        "raft.leader",
        "heartbeat_interval // 10",
        "heartbeat_interval // 11",
    ),
)


def plant_one(number):
    name, module, old, new = PLANTED[number]
    edits = (Edit(module, old, new),)
    plant(Mutant(name, number, "", (), edits, "", ""))
