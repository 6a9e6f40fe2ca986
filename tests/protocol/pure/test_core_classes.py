"""Classes of bugs whose rule shows best in one core alone."""

from d_engine.pure import (
    Add,
    ChangeMembers,
    Configuration,
    Core,
    HardState,
    LogId,
    Member,
    Persist,
    Persisted,
    Settings,
    SnapshotTaken,
    Start,
    Time,
)

SETTINGS = Settings(50_000, (250_000, 500_000), 50_000, 15_000_000, *[1 << 20] * 6)


def alone(**found):
    """The only voter of its cluster, with five entries of term 1 on its disk."""
    one = Configuration((Member(1, "one:1", incarnation=1),), (), 250_000)
    start = Start(
        id=1,
        incarnation=1,
        group=0,
        seed=1,
        hard_state=HardState(1, 1),
        purged=LogId(0, 0),
        last=5,
        term_runs=((1, 1),),
        last_time=0,
        configurations=((0, one),),
        snapshot=None,
        applied=5,
    )
    return Core(0, SETTINGS, start._replace(**found))


def test_class_27_the_newest_snapshot_stays_the_newest():
    core = alone()
    core.step(SnapshotTaken(0, LogId(1, 5)))
    core.step(SnapshotTaken(0, LogId(1, 3)))
    assert core.status().snapshot == LogId(1, 5)


def test_class_31_a_node_begins_behind_the_newer_of_snapshot_and_state_machine():
    assert alone(snapshot=LogId(1, 5), purged=LogId(1, 5), term_runs=(), applied=0).status().applied == 5
    assert alone(snapshot=LogId(1, 3), purged=LogId(1, 3), term_runs=((4, 1),), applied=5).status().applied == 5


def test_class_26_nothing_counts_before_the_incarnation_is_recorded():
    core = alone()

    def persist_all(effects):
        tokens = [effect.token for effect in effects if isinstance(effect, Persist)]
        for token in tokens:
            persist_all(core.step(Persisted(1_000_000, token)))

    persist_all(core.step(Time(1_000_000, 0)))
    assert core.role == "leader"
    assert core.commit == core.log.last
    before = core.commit
    newcomer = Add(Member(9, "nine:9", auto_promote=False))
    effects = core.step(ChangeMembers(1_000_000, 0, 1, (newcomer,)))
    # As if it had acknowledged everything and answered every round: whoever it is, nobody has recorded it.
    assert core.leadership is not None
    follower = core.leadership.followers[9]
    follower.matched, follower.round = core.log.last, core.leadership.round
    persist_all(effects)
    assert core.configurations.voters == (1, 9)
    assert core.commit == before
