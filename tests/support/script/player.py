"""The little language of protocol scripts (`tests/protocol/README.md`), played on a simulated cluster of either core."""

import re
import shlex
from itertools import pairwise

from d_engine.pure import (
    Add,
    ApplyStopped,
    Close,
    Demote,
    Fetched,
    HardState,
    Member,
    Message,
    PersistFailed,
    Promote,
    Purge,
    Receive,
    Remove,
    SnapshotSent,
    Unreachable,
)
from support.script import show
from support.sim.checks import check_equal, check_logs
from support.sim.cluster import Cluster
from support.sim.make import MS, configuration, entry, incarnation, member, settings

HELD = {"disk": "auto_persist", "machine": "auto_apply", "snapshots": "auto_transfer"}


def matched(pattern, text):
    """The match of all of a command's words."""
    found = re.fullmatch(pattern, text)
    if found is None:
        raise ValueError(f"not understood: {text!r}")
    return found


class Player:
    """One script on one kind of core."""

    def __init__(self, core):
        self.core = core
        self.cluster = Cluster(core)
        self.lines = []
        self.quiet = False

    def play(self, commands):
        """What these commands print."""
        self.lines = []
        for command in commands:
            self.command(command)
        return "\n".join(self.lines) or "ok"

    def command(self, command, *, quiet=False):
        words = shlex.split(command, posix=False)
        name = words[0].replace("-", "_")
        method = getattr(self, f"do_{name}", None)
        if method is None:
            raise ValueError(f"no such command: {command!r}")
        self.quiet = quiet or name in self.QUIET
        method(*words[1:])

    def do_repeat(self, times, *words):
        """repeat 10 propose 1 x; settle: several commands several times, with replies and events alone."""
        for _ in range(int(times)):
            for command in " ".join(words).split(";"):
                self.command(command.strip(), quiet=True)

    QUIET = {"elect", "settle", "advance", "start", "restart", "cluster", "join"}  # noqa: RUF012

    def heard(self, node, _given, effects):
        for effect in effects:
            if not (self.quiet and type(effect) in show.QUIET):
                self.lines.append(show.effect(node, effect))

    # --- who is there

    def do_cluster(self, count, *words):
        """cluster 3 [seen] [idle] [learner=4] [witness=3] [priority=2:5] [SETTING=NUMBER]: members 1 to count."""
        flags = {word for word in words if "=" not in word}
        options = [word.split("=") for word in words if "=" in word]
        roles, priorities, limits = {}, {}, {}
        for name, value in options:
            if name in {"learner", "witness"}:
                roles.update((int(node), name) for node in value.split(","))
            elif name == "priority":
                priorities.update(tuple(map(int, pair.split(":"))) for pair in value.split(","))
            else:
                limits[name] = int(value)
        members = [
            member(
                node,
                role=roles.get(node, "voter"),
                priority=priorities.get(node, 0),
                auto_promote="auto" in flags,
                incarnation=incarnation(node) if "seen" in flags else None,
            )
            for node in range(1, int(count) + 1)
        ]
        self.initial = configuration(members)
        self.cluster = Cluster(self.core, limits=settings(**limits))
        self.cluster.heard = self.heard
        for one in members:
            self.cluster.add(one.id, self.initial)
        if "idle" not in flags:
            for one in members:
                self.cluster.start(one.id)

    def do_join(self, node):
        """join 4: a node starts that belongs to no cluster yet."""
        self.cluster.add(int(node), None)
        self.cluster.start(int(node))

    def do_disk(self, node, *words):
        """disk 1 term 5 [vote 2] [log 1 1 4]: what a node that is not started finds on its disk; the log by its terms."""
        disk = self.cluster.nodes[int(node)].disk
        found = matched(r"term (\d+)(?: vote (\d+))?(?: log ([\d ]*))?", " ".join(words))
        disk.hard_state = HardState(int(found[1]), int(found[2]) if found[2] else None)
        disk.entries = [entry(index, int(term)) for index, term in enumerate((found[3] or "").split(), 1)]

    def do_start(self, *nodes):
        for node in nodes:
            self.cluster.start(int(node))

    def do_crash(self, node, *kept):
        """crash 1 [kept 2]: power is lost; the first jobs of the disk's queue had made it."""
        self.cluster.crash(int(node), int(kept[1]) if kept else 0)

    def do_restart(self, node):
        self.cluster.crash(int(node))
        self.cluster.start(int(node))

    def do_wipe(self, node, *how):
        """wipe 3 [peers]: its disk is gone; with `peers` the new one begins with the first configuration again."""
        self.cluster.wipe(int(node), self.initial if how else None)

    # --- time

    def do_elect(self, node):
        """elect 1: its timer fires, alone, until it leads; everything else is done meanwhile."""
        before = len(self.lines)
        self.cluster.elect(int(node))
        self.cluster.settle()
        del self.lines[before:]
        self.lines.append(f"{node}: leads term {self.cluster.nodes[int(node)].term}")

    def do_due(self, node):
        """due 1: the clock moves to the node's deadline, and its timers fire."""
        self.cluster.meet(int(node))

    def do_time(self, node):
        self.cluster.time(int(node))

    def do_pass(self, span):
        """pass 150: so many milliseconds pass, and no timer fires."""
        self.cluster.now += int(span) * MS

    def do_advance(self, span):
        """advance 300: so many milliseconds pass, timers fire on time, all that can be done is done."""
        self.cluster.advance(int(span) * MS)
        self.cluster.settle()

    def do_settle(self):
        """settle: all that can be done is done, while the clock stands."""
        self.cluster.settle()

    # --- requests

    def do_propose(self, node, *payloads):
        """propose 1 x y: one batch; `#` stands for the number of the request."""
        number = str(self.cluster.next_id)
        self.cluster.propose(int(node), *(payload.strip('"').replace("#", number).encode() for payload in payloads))

    def do_read(self, node, *how):
        """read 1 [lease]"""
        self.cluster.read(int(node), lease="lease" in how)

    def do_transfer(self, node, *to):
        self.cluster.transfer(int(node), int(to[0]) if to else None)

    def do_change(self, node, *words):
        """change 1 add 4 [learner] [auto] [priority 3], remove 2, promote 4, demote 3"""
        self.cluster.change(
            int(node), *(self.wish(part.split()) for part in " ".join(words).split(",") if part.strip())
        )

    def wish(self, words):
        if words[0] != "add":
            return {"remove": Remove, "promote": Promote, "demote": Demote}[words[0]](int(words[1]))
        rest = words[2:]
        role = next((word for word in rest if word in {"learner", "witness"}), "voter")
        one = member(int(words[1]), role=role, auto_promote="auto" in rest)
        for name, value in pairwise(rest):
            if name == "priority":
                one = one._replace(priority=int(value))
            elif name == "life":
                one = one._replace(incarnation=show.read_life(value))
            elif name == "address":
                one = one._replace(address=value)
        assert isinstance(one, Member)
        return Add(one)

    def do_close(self, node, *how):
        """close 1 [now]: with `now`, without handing over."""
        self.cluster.step(int(node), Close(self.cluster.now, not how))

    # --- the wire

    def picked(self, words):
        """The positions of messages on the wire: [1] > [2] [kind of message] [all]."""
        text = " ".join(words)
        every = text.endswith("all") or not text
        text = text.removesuffix("all").strip()
        found = matched(r"(?:(\d*) ?> ?(\d*))? ?(.*)", text)
        picked = []
        for at, message in enumerate(self.cluster.wire):
            if (
                (not found[1] or message.sender == int(found[1]))
                and (not found[2] or message.to == int(found[2]))
                and show.BODIES[type(message.body)](message.body).startswith(found[3])
            ):
                picked.append(at)
        if not picked:
            raise ValueError(
                f"no such message: {' '.join(words)!r}; there are {[show.message(m) for m in self.cluster.wire]}"
            )
        return picked if every else picked[:1]

    def take(self, words):
        picked = self.picked(words)
        taken = [self.cluster.wire[at] for at in picked]
        for at in reversed(picked):
            del self.cluster.wire[at]
        return taken

    def do_deliver(self, *words):
        """deliver [1] > [2] [kind] [all]: the oldest such message, or all of them that are there now."""
        for message in self.take(words):
            self.cluster.hand_over(message)

    def do_drop(self, *words):
        self.take(words)

    def do_duplicate(self, *words):
        """duplicate 1 > 2 append: a copy of it goes to the end of the wire."""
        for at in self.picked(words):
            self.cluster.wire.append(self.cluster.wire[at])

    def do_delay(self, *words):
        """delay 1 > 2 append: it goes to the end of the wire."""
        self.cluster.wire.extend(self.take(words))

    def do_wire(self):
        self.lines.extend(map(show.message, self.cluster.wire))

    def do_tell(self, *words):
        """tell 2 > 1 t3 [from 2'] vote 5@2: hands over a message that nobody has sent; written as they are printed."""
        found = matched(r"(\d+) > (\d+)(?: t(\d+))?(?: from (\d+'*))? (.*)", " ".join(words))
        sender = int(found[1])
        shown = show.read_life(found[4]) if found[4] else self.life(sender)
        body = show.read_body(found[5])
        message = Message(sender, shown, int(found[2]), int(found[3] or 0), body)
        self.cluster.step(message.to, Receive(self.cluster.now, self.cluster.now, message))

    def life(self, node):
        return self.cluster.nodes[node].incarnation if node in self.cluster.nodes else incarnation(node)

    def do_cut(self, *words):
        """cut 1 2, or cut 1 > 2 for one direction"""
        found = matched(r"(\d+) (> )?(\d+)", " ".join(words))
        one, other = int(found[1]), int(found[3])
        self.cluster.cut.add((one, other))
        if not found[2]:
            self.cluster.cut.add((other, one))

    def do_isolate(self, *nodes):
        for node in nodes:
            self.cluster.isolate(int(node))

    def do_heal(self):
        self.cluster.heal()

    def do_unreachable(self, node, other):
        self.cluster.step(int(node), Unreachable(self.cluster.now, int(other)))

    # --- disks and state machines

    def do_hold(self, node, what):
        """hold 1 disk | machine | snapshots: it does nothing by itself any more, or its snapshots do not arrive."""
        setattr(self.cluster.nodes[int(node)], HELD[what], False)

    def do_release(self, node, what):
        setattr(self.cluster.nodes[int(node)], HELD[what], True)

    def do_persist(self, node, *how):
        """persist 1 [all]: the oldest job of its disk is done."""
        if not self.cluster.persist(int(node)):
            raise ValueError(f"nothing to persist on {node}")
        while how and self.cluster.persist(int(node)):
            pass

    def do_fail_disk(self, node):
        self.cluster.step(int(node), PersistFailed(self.cluster.now, (1 << 64) - 1))

    def do_apply(self, node, *how):
        if not self.cluster.apply(int(node)):
            raise ValueError(f"nothing to apply on {node}")
        while how and self.cluster.apply(int(node)):
            pass

    def do_stop_apply(self, node):
        self.cluster.step(int(node), ApplyStopped(self.cluster.now))

    def do_fetch(self, node, *how):
        """fetch 1 [purged]: its disk answers the oldest read of the log; or says that the entries are gone."""
        if how:
            wish = self.cluster.nodes[int(node)].fetches.popleft()
            self.cluster.step(int(node), Fetched(self.cluster.now, wish.id, None))
        else:
            self.cluster.answer_fetch(int(node))

    def do_snapshot(self, node, *behind):
        """snapshot 1 [keep 5]: of what it has applied; the log behind it is purged but for so many entries."""
        if not self.cluster.snapshot(int(node), int(behind[1]) if behind else 0):
            raise ValueError(f"nothing to take a snapshot of on {node}")

    def do_purge(self, node, upto):
        self.cluster.step(int(node), Purge(self.cluster.now, int(upto)))

    def do_send_snapshot(self, node):
        """send-snapshot 1: the oldest transfer of a snapshot arrives."""
        if not self.cluster.transfer_snapshot(int(node)):
            raise ValueError(f"no snapshot under way from {node}")

    def do_lose_snapshot(self, node):
        wish = self.cluster.nodes[int(node)].sending.popleft()
        self.cluster.step(int(node), SnapshotSent(self.cluster.now, wish.to, None))

    def do_deliver_snapshot(self, node, sender, term):
        """deliver-snapshot 2 1 3: the newest snapshot of node 1, sent in term 3, comes to node 2 (again, or late)."""
        snapshot = self.cluster.nodes[int(sender)].disk.snapshot
        self.cluster.receive_snapshot(int(node), int(sender), int(term), snapshot)

    # --- looks

    def running(self, nodes):
        chosen = [int(node) for node in nodes] or list(self.cluster.nodes)
        for node in chosen:
            if self.cluster.nodes[node].core is None:
                self.lines.append(f"{node}: down")
            else:
                yield node, self.cluster.nodes[node].core.status()

    def do_status(self, *nodes):
        for node, it in self.running(nodes):
            role = it.role.replace("_", "-") + (f" of {it.leader}" if it.leader not in {None, node} else "")
            vote = "" if it.vote is None else f" vote {it.vote}"
            ends = f"commit {it.commit} applied {it.applied} durable {it.durable} last {show.place(it.last)}"
            self.lines.append(f"{node}: {role}, term {it.term}{vote}, {ends}")

    def do_members(self, *nodes):
        for node, it in self.running(nodes):
            missing = f", missing {' '.join(map(str, it.missing))}" if it.missing else ""
            self.lines.append(f"{node}: {it.configuration_index}: {show.configuration(it.configuration)}{missing}")

    def do_progress(self, node):
        for it in self.cluster.nodes[int(node)].core.status().progress:
            self.lines.append(f"{it.id}: {it.state}, matched {it.matched}, next {it.next}, {it.inflight} in flight")

    def do_lease(self, node):
        """lease 1: how many milliseconds its lease runs from now."""
        until = self.cluster.nodes[int(node)].core.status().lease_until
        left = 0 if until is None else max(0, until - self.cluster.now)
        self.lines.append(f"{node}: {'no lease' if not left else f'lease for {left / MS:g} ms'}")

    def do_log(self, *nodes):
        for node in nodes or self.cluster.nodes:
            disk = self.cluster.nodes[int(node)].disk
            begins = f"behind {show.place(disk.purged)}: " if disk.purged.index else ""
            self.lines.append(f"{node}: {begins}{show.records(disk.entries) or 'empty'}")

    def do_equal(self):
        """equal: all who run have applied the same, and no two logs contradict each other."""
        check_equal(self.cluster)
        check_logs(self.cluster)
        applied = {one.machine.applied.index for one in self.cluster.nodes.values() if one.core is not None}
        self.lines.append(f"all have applied {' or '.join(map(str, sorted(applied)))}")

    def do_clear(self):
        """clear: everything on the wire is lost."""
        self.cluster.wire.clear()
