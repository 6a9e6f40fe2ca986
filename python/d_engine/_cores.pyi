"""What `d_engine._core` has of cores and drivers as functions. Private: `d_engine.core` re-exports what is meant for users.

Inputs, effects and all that is in them are the records of `d_engine.pure`. They are converted as a whole before a core sees any of it, so that
bad input changes nothing. A wrong type is a `TypeError`: an object of an unknown class, or what could be made an `int` and is none. A value that
cannot be is a `ValueError`, in a message an `InvalidMessageError`, in settings and start a `ConfigError`. A message that can be, and that no
member would send, is dropped by the core, as both cores do with it.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, final

from .pure import Change, Configuration, CoreStatus, Effect, Input, LogId, Role, Settings, Start
from .pure.driver import Action, DriverInput, DriverSettings, DriverStart

@final
class NativeCore:
    """One member's protocol state, in Rust: `step` is its only entrance.

    Inputs and effects are the records of `d_engine.pure`. An object belongs to one thread at a time: a call that comes while another one is under way
    raises `RuntimeError`.
    """

    def __new__(cls, now: int, settings: Settings, start: Start) -> NativeCore:
        """A member as it comes up from its storage at `now` (microseconds). Step a `Time` first: nothing is due before.

        Raises:
            ConfigError: a setting is out of its bounds, or what was read from storage does not fit together.
        """

    def step(self, input: Input) -> list[Effect]:  # noqa: A002  # what it is called everywhere
        """Takes in one thing that happened, and says what is to be done, in order.

        Effects are carried out in that order, and none of them is waited for. `now` may stand still, but does not go back.

        Raises:
            TypeError: not an input, or something in it is of another type than the record says.
            ValueError: a number, a name or an order that cannot be.
            InvalidMessageError: the same in a message.
        """

    def deadline(self) -> int | None:
        """When `Time` must be stepped at the latest; None: nothing is due, ever."""

    def status(self) -> CoreStatus:
        """Everything worth showing."""

    def digest(self) -> bytes:
        """What this core has in common with every other that took the same inputs, the pure one included: 32 bytes.

        Made on demand, from the protocol's state, the log's bounds and runs of terms, and the checksums of the entries in memory.
        """

    @property
    def role(self) -> Role:
        """What it is."""

    @property
    def term(self) -> int:
        """The newest term it has seen."""

    @property
    def leader(self) -> int | None:
        """Who leads, as far as it knows."""

    @property
    def commit(self) -> int:
        """Committed up to here."""

    def matched(self, node: int) -> int | None:
        """On a leader: up to where that follower holds the log."""

@final
class NativeDriver:
    """A native core with everything that a node decides around it, for lock step with `d_engine.pure.driver.Driver`. Private.

    Inputs and actions are the records of `d_engine.pure.driver`; waiters are any objects, and come out as they went in. What is said above of bad
    input, and of threads, holds here too.
    """

    def __new__(
        cls, now: int, settings: Settings, start: Start, driver_settings: DriverSettings, driver_start: DriverStart
    ) -> NativeDriver: ...
    def handle(self, now: int, wall: int, input: DriverInput) -> list[Action]:  # noqa: A002  # what it is called everywhere
        """Takes in one thing that happened."""

    def flush(self, now: int, wall: int) -> list[Action]:
        """Ends a turn: steps what has been collected, then fires what is due."""

    def fail_everything(self) -> list[Action]:
        """Ends every call that waits in here; for a node that stops without closing its core."""

    def deadline(self) -> int | None:
        """When `flush` must be called at the latest."""

    def digest(self) -> bytes:
        """SHA-256 over everything that the driver and its core decide by."""

    def position(self) -> tuple[Role, int, int | None]:
        """What this node is, its term, and whom it follows."""

    def status(self) -> CoreStatus:
        """Everything worth showing of its core."""

    @property
    def applied(self) -> LogId:
        """The last entry that the state machine has applied."""

    @property
    def ready(self) -> bool:
        """A leader is known, and an entry of its term is applied here."""

    @property
    def closed(self) -> bool:
        """Whether nothing is left to do."""

    @property
    def waiting(self) -> int:
        """Calls that wait in here."""

def committed_index(acked: Mapping[int, int], voters: Iterable[int], outgoing: Iterable[int] = ()) -> int:
    """The highest index that a quorum of `voters`, and one of `outgoing`, have reached; whoever is not in `acked` has reached 0.

    An empty set constrains nothing: without any voters it is 2**64 - 1.
    """

def vote_result(
    votes: Mapping[int, bool], voters: Iterable[int], outgoing: Iterable[int] = ()
) -> Literal["won", "lost", "pending"]:
    """Who has won an election, if anybody has; whoever is not in `votes` has not voted yet. An empty set is won."""

def change(current: Configuration, changes: tuple[Change, ...]) -> tuple[Configuration, ...]:
    """The configurations that `current` goes through: one, or the joint one and the one after it.

    Raises:
        ChangeRefusedError: the changes do not fit each other or the configuration; `why` says more.
    """
