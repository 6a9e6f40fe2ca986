"""`d-engine log`, `d-engine doctor`, `python -m d_engine doctor`."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from d_engine import LocalCluster, StorageError, cli, doctor
from support.clusters import WAIT
from support.machines import Journal

REPORT = {
    "directory": "data",
    "node_id": 1,
    "cluster": "default",
    "cluster_id": "ab" * 16,
    "incarnation": "cd" * 16,
    "term": 3,
    "vote": None,
    "purged": (10, 1),
    "last": (25, 3),
    "synced_through": 7,
    "segments": [
        {"name": "0001.log", "bytes": 4096, "epoch": 1, "first": 11, "last": 25, "batches": 7, "entries": 15},
        {"name": "0002.log", "bytes": 0, "epoch": 2, "first": None, "last": None, "batches": 0, "entries": 0},
    ],
    "terms": [(1, 11, 20), (3, 21, 25)],
    "configurations": [(0, "1, 2, 3")],
    "snapshots": [(10, 1, 1234)],
    "torn_tail": ("0001.log", 8192, 100),
    "damage": None,
}


@pytest.fixture
def fake(monkeypatch):
    """The native module's answers, so that every case can be shown."""
    answers = dict(REPORT)

    def look(directory):
        if directory == "missing":
            raise StorageError("there is no log in missing")
        return answers

    monkeypatch.setattr(cli, "native", lambda: SimpleNamespace(log_inspect=look, log_verify=look))
    return answers


@pytest.fixture(params=["rich", "plain"])
def looks(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "rich.console", None)
        monkeypatch.setitem(sys.modules, "rich.table", None)
    else:
        pytest.importorskip("rich")


def test_inspect_shows_everything(fake, capsys, looks):
    assert cli.look("inspect", "data", as_json=False) == 0
    text = capsys.readouterr().out
    for part in (
        "node",
        "default",
        "term 3",
        "10@1",
        "25@3",
        "0001.log",
        "11 to 25",
        "1: 11 to 20",
        "torn tail",
        "8192",
        "1,234",
    ):
        assert part in text, part


def test_damage_is_an_exit_status(fake, capsys):
    fake["damage"] = ("0001.log", 4096, 17, "checksum of a batch")
    assert cli.look("verify", "data", as_json=False) == 1
    text = capsys.readouterr().out
    for part in ("DAMAGED", "0001.log at offset 4096, index 17: checksum of a batch"):
        assert part in text
    fake["damage"] = None
    assert cli.look("verify", "data", as_json=False) == 0
    assert "every checksum fits" in capsys.readouterr().out


def test_json(fake, capsys):
    assert cli.look("inspect", "data", as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["last"] == [25, 3]


def test_no_log_there(fake, capsys):
    assert cli.look("inspect", "missing", as_json=False) == 2
    assert "there is no log" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["log", "inspect", "data"], 0),
        (["log", "verify", "--json", "data"], 0),
        (["log", "inspect", "missing"], 2),
        (["log"], 2),
        (["nonsense"], 2),
        ([], 2),
        (["--help"], 0),
    ],
)
def test_without_click(fake, monkeypatch, capsys, words, status):
    monkeypatch.setitem(sys.modules, "click", None)
    monkeypatch.delitem(sys.modules, "d_engine._click", raising=False)
    monkeypatch.setattr(sys, "argv", ["d-engine", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == status
    if words[:1] != ["log"] or len(words) == 1:
        assert "pip install 'd-engine-core[cli]'" in capsys.readouterr().err


def test_with_click(fake, monkeypatch, capsys, tmp_path):
    pytest.importorskip("click")
    for words, status in (
        (["log", "inspect", str(tmp_path)], 0),
        (["log", "verify", "--json", str(tmp_path)], 0),
        (["log", "inspect", str(tmp_path / "missing")], 2),
        (["doctor"], 2),
        (["--help"], 0),
    ):
        monkeypatch.setattr(sys, "argv", ["d-engine", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == status, words
    assert "Usage" in capsys.readouterr().out


def test_doctor_measures_a_directory(tmp_path):
    lines, problems = doctor.report(tmp_path)
    values = dict(lines)
    assert {"python", "core", "sqlite", "cpus", "directory", "free space", "clock", "wall time"} <= set(values)
    sync = values.get("fdatasync") or values["fsync"]
    assert "p50" in sync
    assert "p99" in sync
    assert list(tmp_path.iterdir()) == []
    assert all(isinstance(problem, str) for problem in problems)


def test_doctor_names_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "file_system", lambda directory: "tmpfs")
    assert doctor.main([str(tmp_path)]) == 1
    assert "nothing there survives a power cut" in capsys.readouterr().out
    assert doctor.main([]) == 2
    assert doctor.main([str(tmp_path / "missing")]) == 2
    assert "is no directory" in capsys.readouterr().err


@pytest.mark.process
def test_doctor_as_a_program(tmp_path):
    done = subprocess.run([sys.executable, "-m", "d_engine", "doctor", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    assert "fdatasync" in done.stdout
    for words in ([], ["nonsense"]):
        done = subprocess.run([sys.executable, "-m", "d_engine", *words], capture_output=True, text=True)
        assert done.returncode == 2
        assert "usage" in done.stderr


# --- on real logs ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    with LocalCluster(Journal, directory=tmp_path) as cluster:
        cluster.propose_many([b"%d" % number for number in range(100)], timeout=WAIT)
        cluster.wait_ready(timeout=WAIT)
        for raft in cluster.nodes.values():
            raft.read_barrier()
    return tmp_path


def test_a_real_log(data, capsys):
    for node in (1, 2, 3):
        for verb in ("inspect", "verify"):
            assert cli.look(verb, str(data / f"node-{node}"), as_json=True) == 0
            found = json.loads(capsys.readouterr().out)
            assert found["node_id"] == node
            assert found["cluster"] == "default"
            assert found["last"][0] >= 100
            assert found["damage"] is None
            assert sum(segment["entries"] for segment in found["segments"]) >= 100
            assert any("local:1" in text for _, text in found["configurations"])


def test_a_damaged_log_is_named_and_refused(data, capsys):
    from d_engine import Config, CorruptLogError, FileStorage, LocalTransport, Raft

    folder = data / "node-1"
    assert cli.look("verify", str(folder), as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    name = report["segments"][0]["name"]
    (path,) = list(folder.rglob(name))
    content = bytearray(path.read_bytes())
    at = content.index(b"10")  # the payload of one of the entries
    content[at] ^= 1
    path.write_bytes(content)
    assert cli.look("verify", str(folder), as_json=True) == 1
    damage = json.loads(capsys.readouterr().out)["damage"]
    assert damage[0] == name
    assert damage[1] <= at
    raft = Raft(1, FileStorage(folder), Journal(), Config(), peers={1: "local:1"}, transport=LocalTransport())
    with pytest.raises(CorruptLogError) as caught:
        raft.start()
    assert caught.value.segment == name
    assert caught.value.offset is not None


def test_no_log(tmp_path, capsys):
    assert cli.look("inspect", str(tmp_path), as_json=False) == 2
    assert str(tmp_path) in capsys.readouterr().err
