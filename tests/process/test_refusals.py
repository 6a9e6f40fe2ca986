"""What must be refused, is, by name and on both sides; the cluster goes on as if nothing had been."""

import os
import shutil
import socket
import struct

import pytest

from process.harness import Nodes, wait_until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.mark.process
def test_a_directory_in_use_is_refused(tmp_path):
    with Nodes(tmp_path).start() as nodes:
        nodes.leader()
        nodes.spawn(2)
        refusal = nodes.event(2)
        assert refusal["event"] == "refused"
        assert refusal["kind"] == "DirectoryLockedError"
        assert str(nodes.data(2)) in refusal["text"]
        nodes.write(1, 1)


@pytest.mark.process
def test_the_directory_of_another_node_or_cluster_is_refused(tmp_path):
    with Nodes(tmp_path).start() as nodes:
        nodes.leader()
        nodes.write(2, 1)
        nodes.stop(3)
        nodes.spawn(2, directory=nodes.data(3))
        refusal = nodes.event(2)
        assert refusal["kind"] == "WrongNodeError"
        assert "3" in refusal["text"] and str(nodes.data(3)) in refusal["text"]
        nodes.spawn(3, config={"cluster": "elsewhere"})
        refusal = nodes.event(3)
        assert refusal["kind"] == "WrongClusterError"
        assert "elsewhere" in refusal["text"] and "default" in refusal["text"]
        nodes.start(3)  # nothing has changed: the right node starts from it
        assert nodes.event(3)["event"] == "started"
        nodes.level()


@pytest.mark.process
def test_a_port_in_use_is_refused(tmp_path):
    with Nodes(tmp_path).start() as nodes:
        leader = nodes.leader()
        nodes.spawn(1, directory=tmp_path / "other", peers={1: nodes.peers[leader]})
        refusal = nodes.event(1)
        assert refusal["kind"] == "ConfigError"
        assert str(nodes.ports[leader]) in refusal["text"]


@pytest.mark.process
def test_a_member_of_another_cluster_is_refused_on_both_sides(tmp_path):
    with Nodes(tmp_path).start() as nodes:
        nodes.leader()
        nodes.stop(3)
        leader = nodes.leader()
        term = nodes.status(leader)["term"]
        shutil.rmtree(nodes.data(3))
        nodes.spawn(3, config={"cluster": "elsewhere"})
        assert nodes.event(3)["event"] == "started"
        wait_until(
            lambda: "elsewhere" in nodes.errors(3) and "default" in nodes.errors(3),
            within=20,
            what="the stranger to be told that the cluster is another",
        )
        wait_until(
            lambda: any("elsewhere" in nodes.errors(node) for node in (1, 2)),
            within=20,
            what="a member to say that a stranger knocks",
        )
        nodes.write(leader, 7)
        assert nodes.status(leader)["term"] == term


@pytest.mark.process
def test_garbage_on_the_port_changes_nothing(tmp_path, full):
    pieces = [
        b"",
        b"\0",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        PREFACE[:10],
        PREFACE,
        PREFACE + os.urandom(4096),
        PREFACE + struct.pack(">I", 0x00FFFFFF) + os.urandom(64),  # the header of a frame as long as can be
        os.urandom(1 << 16),
    ]
    with Nodes(tmp_path).start() as nodes:
        leader = nodes.leader()
        before = {node: (status["term"], status["leader"]) for node, status in nodes.statuses().items()}
        for number in range(200 if full else 20):
            held: list[socket.socket] = []
            for node in nodes.ids:
                for piece in pieces:
                    stream = socket.create_connection(("127.0.0.1", nodes.ports[node]), timeout=10)
                    held.append(stream)
                    try:
                        stream.sendall(piece)
                    except OSError:  # refused before it was all said
                        continue
            nodes.write(leader, number)
            for stream in held:
                stream.close()
        nodes.level()
        after = {node: (status["term"], status["leader"]) for node, status in nodes.statuses().items()}
        assert after == before
