"""A big snapshot, state on disk, to a node that has nothing, with the connection cut every second: little memory, little sent twice."""

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from process.harness import Nodes, wait_until
from process.memory import Watch
from process.proxy import Proxy

MIB = 1 << 20
ALLOWED = 64 * MIB
PROGRAM = Path(__file__).with_name("big_node.py")


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_big_snapshot_goes_over_a_line_that_is_cut_every_second(tmp_path, full, note):
    blocks = 1024 if full else 96
    config = {"trailing_entries": 0, "election_timeout": (1.0, 2.0), "heartbeat_interval": 0.1, "request_timeout": 30.0}
    if not full:  # so that it lasts for some cuts
        config["snapshot_bytes_per_second"] = 32 * MIB
    with ExitStack() as stack:
        nodes = stack.enter_context(Nodes(tmp_path, room=4, config=config, program=PROGRAM))
        proxies = {node: stack.enter_context(Proxy(port)) for node, port in nodes.ports.items()}
        nodes.addresses = {node: proxy.address for node, proxy in proxies.items()}
        nodes.peers = {node: nodes.addresses[node] for node in nodes.ids}
        nodes.start()
        leader = nodes.leader()
        child = nodes.children[leader]
        for _ in range(8):
            child.call("fill", blocks=blocks // 8, timeout=600)
        index = child.call("snapshot", timeout=600)["index"]
        wait_until(lambda: nodes.status(leader)["purged"] == index, within=30, what="the log to be purged")

        sent_before = nodes.metrics(leader)["bytes_sent_bulk"]
        new = 4
        nodes.children[new] = nodes.spawn(new, join=[leader])
        assert nodes.event(new, within=60)["event"] == "started"
        watch = Watch({"leader": child, "new": nodes.children[new]})
        began, cuts = time.monotonic(), 0
        next_cut = began + 1.0

        def arrived() -> bool:
            nonlocal cuts, next_cut
            if time.monotonic() >= next_cut:
                # To the new node, and what the leader hears of it.
                cuts += bool(proxies[new].cut())
                proxies[leader].cut()
                next_cut += 1.0
            return nodes.status(new)["applied"] >= index

        wait_until(arrived, within=600, what="the snapshot to be installed")
        took = time.monotonic() - began
        more = watch.end()
        sent = nodes.metrics(leader)["bytes_sent_bulk"] - sent_before
        assert nodes.leader() == leader
        digests = {node: nodes.children[node].call("digest", timeout=600)["digest"] for node in (leader, new)}
        installed = nodes.metrics(new)["snapshots_installed"]
        wait_until(lambda: nodes.members(leader).get(new) == "voter", within=60, what="the new node to vote")
    assert digests[new] == digests[leader]
    assert digests[new].startswith(f"{blocks * MIB} ")
    assert installed == 1
    size = blocks * MIB
    again = sent - size
    note(
        f"{blocks} MiB of state on disk in {took:.1f} s, cut {cuts} times: {again / MIB:.2f} MiB sent again ({100 * again / size:.2f} %);"
        f" resident memory above before, at most, of {watch.samples} samples: leader {more['leader'] / MIB:.1f} MiB,"
        f" new node {more['new'] / MIB:.1f} MiB"
    )
    assert cuts >= 2
    assert again < size / 10
    assert max(more.values()) <= ALLOWED, more
