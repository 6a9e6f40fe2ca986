"""`Config`: limits, all problems at once, files."""

import dataclasses
import math
import pickle

import pytest

from d_engine import Config, ConfigError
from d_engine.config import MAX_ENTRY_BYTES, settings


def test_defaults_are_the_lan_preset():
    assert Config() == Config.lan()
    assert Config().heartbeat_interval == 0.05
    assert Config().election_timeout == (0.25, 0.5)
    assert Config().request_timeout == 5.0
    assert Config().storage_stall_timeout == 15.0


def test_wan_is_slower_and_can_be_changed():
    config = Config.wan(request_timeout=7)
    assert config.election_timeout[0] > Config().election_timeout[1]
    assert config.request_timeout == 7.0


def test_frozen_hashable_and_copyable():
    config = Config(cluster="a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.cluster = "b"
    assert config.replace(cluster="b").cluster == "b"
    assert config.cluster == "a"
    assert pickle.loads(pickle.dumps(config)) == config
    assert len({config, Config(cluster="a")}) == 1


def test_unknown_field_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown field 'hartbeat_interval' .did you mean 'heartbeat_interval'"):
        Config(hartbeat_interval=1)
    with pytest.raises(ConfigError, match="did you mean 'forward'"):
        Config().replace(foreward=True)


def test_positional_arguments_are_refused():
    with pytest.raises(ConfigError, match="keyword"):
        Config("name")


def test_all_problems_at_once():
    with pytest.raises(ConfigError) as caught:
        Config(cluster="", heartbeat_interval=0, election_timeout=(2, 1), max_entry_bytes=0, insecure="yes", sesions=1)
    problems = caught.value.problems
    assert len(problems) == 6
    for word in ("cluster", "heartbeat_interval", "election_timeout", "max_entry_bytes", "insecure", "sesions"):
        assert any(word in problem for problem in problems), word
        assert word in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cluster", "x" * 256),
        ("cluster", "a\0b"),
        ("cluster", 7),
        ("heartbeat_interval", -1),
        ("heartbeat_interval", math.nan),
        ("heartbeat_interval", "fast"),
        ("heartbeat_interval", True),
        ("election_timeout", (0.5, 0.25)),
        ("election_timeout", (0.25, 0.25)),
        ("election_timeout", (0.0, 0.5)),
        ("election_timeout", 0.5),
        ("election_timeout", (0.25,)),
        ("election_timeout", (0.06, 0.5)),
        ("drift_bound", -0.1),
        ("drift_bound", 0.5),
        ("request_timeout", 0),
        ("request_timeout", math.inf),
        ("storage_stall_timeout", 0.3),
        ("forward", 1),
        ("max_entry_bytes", MAX_ENTRY_BYTES + 1),
        ("max_entry_bytes", 1.5),
        ("max_inflight_messages", 0),
        ("max_inflight_bytes", 1),
        ("max_uncommitted_bytes", 1),
        ("snapshot_every_entries", 0),
        ("snapshot_every_bytes", 1),
        ("trailing_entries", -1),
        ("snapshot_pin_bytes", -1),
        ("snapshot_bytes_per_second", -1),
        ("snapshot_bytes_per_second", 1_000),
        ("max_sessions", 0),
        ("session_ttl", 0),
        ("session_ttl", math.inf),
        ("segment_bytes", 4096),
    ],
)
def test_each_limit(field, value):
    with pytest.raises(ConfigError, match=field) as caught:
        Config(**{field: value})
    assert len(caught.value.problems) == 1


def test_toml(tmp_path):
    path = tmp_path / "node.toml"
    path.write_text(
        """
        cluster = "orders"
        heartbeat_interval = "100ms"
        election_timeout = ["0.5s", 1]
        request_timeout = 3
        segment_bytes = "64MiB"
        max_entry_bytes = 1000
        """
    )
    config = Config.from_toml(path)
    assert config.cluster == "orders"
    assert config.heartbeat_interval == pytest.approx(0.1)
    assert config.election_timeout == (0.5, 1.0)
    assert config.request_timeout == 3.0
    assert config.segment_bytes == 64 * 2**20
    assert config.max_entry_bytes == 1000
    assert config.max_inflight_messages == Config().max_inflight_messages


def test_toml_table_and_preset(tmp_path):
    path = tmp_path / "service.toml"
    path.write_text('[other]\nx = 1\n[d_engine]\npreset = "wan"\ncluster = "far"\n')
    assert Config.from_toml(path) == Config.wan(cluster="far")


def test_toml_with_problems(tmp_path):
    path = tmp_path / "node.toml"
    path.write_text(
        'preset = "moon"\nsegment_byte = "1MB"\nheartbeat_interval = "fast"\nmax_entry_bytes = "9 parsecs"\n'
    )
    with pytest.raises(ConfigError) as caught:
        Config.from_toml(str(path))
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    for part in (str(path), "moon", "did you mean 'segment_bytes'", "fast", "parsecs", "150ms", "64MiB"):
        assert part in text, part


def test_not_toml(tmp_path):
    path = tmp_path / "node.toml"
    path.write_text("heartbeat = = 1")
    with pytest.raises(ConfigError, match="no TOML"):
        Config.from_toml(path)


def test_native_settings_are_whole_numbers():
    numbers = settings(Config(drift_bound=0.01, heartbeat_interval=0.0205))
    assert numbers["heartbeat_interval_micros"] == 20_500
    assert numbers["election_timeout_min_micros"] == 250_000
    assert numbers["drift_ppm"] == 10_000
    assert all(isinstance(value, (int, str)) for value in numbers.values())


def test_a_session_may_live_longer_than_other_durations(tmp_path):
    assert settings(Config(session_ttl=30 * 86_400.0))["session_ttl_micros"] == 30 * 86_400 * 10**6
    path = tmp_path / "node.toml"
    path.write_text('session_ttl = "90s"\nsnapshot_bytes_per_second = "10MiB"\n')
    config = Config.from_toml(path)
    assert (config.session_ttl, config.snapshot_bytes_per_second) == (90.0, 10 * 2**20)
