"""Sessions through SIGKILLs of leaders: every proposal is repeated until it has a result, and is applied once."""

import os
import random
from itertools import count

import pytest

from process.harness import Nodes, wait_until
from process.repeaters import Repeater

CLIENTS = 4


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_proposals_of_sessions_are_applied_once_through_kills_of_leaders(tmp_path, full, seed, note):
    wanted = 10_000 if full else 1_000
    kills = int(os.environ.get("D_ENGINE_KILLS", "30" if full else "4"))
    numbers = count()
    # Snapshots now and then: what a restarted node knows of the sessions comes from there.
    config = {"snapshot_every_entries": 2_000, "trailing_entries": 100, "request_timeout": 4.0}
    with Nodes(tmp_path, config=config).start() as nodes:
        nodes.leader()
        clients = [Repeater(nodes, numbers, random.Random(f"{seed} {client}")) for client in range(CLIENTS)]

        def acknowledged() -> int:
            for client in clients:
                assert not client.complaints, client.complaints[:3]
            return sum(len(client.acknowledged) for client in clients)

        try:
            for _ in range(kills):
                goal = acknowledged() + wanted // (kills + 1)
                wait_until(lambda goal=goal: acknowledged() >= goal, within=60, what=f"{goal} proposals")
                leader = nodes.leader()
                nodes.kill(leader)
                nodes.start(leader)
            wait_until(lambda: acknowledged() >= wanted, within=120, what=f"{wanted} proposals")
        finally:
            for client in clients:
                client.end()
            for client in clients:
                client.join()
        nodes.level()
        ledgers = {node: nodes.dump(node) for node in nodes.ids}
        repeats = sum(nodes.metrics(node)["repeated_entries"] for node in nodes.ids)
    total = acknowledged()
    for node, ledger in ledgers.items():
        assert ledger == ledgers[1], f"node {node} applied something else than node 1, or in another order"
    found = dict(zip(*ledgers[1], strict=True))
    assert len(found) == len(ledgers[1][0]), f"{len(ledgers[1][0]) - len(found)} entries were applied twice"
    told = {number: index for client in clients for number, index in client.acknowledged.items()}
    assert told == found, "every proposal has its one place, and everybody was told it"
    repeated = sum(client.repeated for client in clients)
    note(
        f"{kills} SIGKILLs of leaders (seed {seed}), {CLIENTS} sessions: {total:,} proposals acknowledged and applied once each, {repeated:,}"
        f" sent again by the clients, {repeats:,} answers from the session table (since the last restarts); one order on three nodes"
    )
