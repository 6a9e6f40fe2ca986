"""Entries and their encoding: one record, the same bytes on disk and on the wire.

    offset  bytes
         0      4  payload length
         4      1  kind
         5      1  flags (none defined: 0)
         6      2  format version
         8      8  index
        16      8  term
        24      8  time: leader's Unix microseconds, never going back
        32      8  session            (0: none)
        40      8  sequence
        48      8  ack_below
        56      4  CRC32C of the payload
        60      4  CRC32C of bytes 0..60
        64         payload

Integers are little-endian. In memory an entry is a tuple; its record is made where bytes are wanted, and not before.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, Literal, NamedTuple, TypeAlias

from .crc32c import crc32c
from .types import Index, LogId, Term, WallMicros

__all__ = [
    "HEADER_BYTES",
    "KINDS",
    "RECORD_VERSION",
    "Draft",
    "Entry",
    "EntryKind",
    "Proposal",
    "RecordError",
    "command",
    "decode",
    "decode_all",
    "encode",
    "log_id",
    "size",
]

HEADER_BYTES: Final = 64
"""Bytes before a record's payload."""
RECORD_VERSION: Final = 1
"""The format that this release writes, and the newest it reads."""

EntryKind: TypeAlias = Literal["noop", "command", "configuration", "session"]
"""What an entry is for.

A no-op is a new leader's first entry and lets it commit what earlier terms left (section 8); a command is the user's bytes, for the state
machine; a configuration takes effect when appended (section 6); a session entry opens or closes a session (thesis 6.3).
"""
KINDS: Final[tuple[EntryKind, ...]] = ("noop", "command", "configuration", "session")
"""All kinds, each at its number."""

_HEADER: Final = Struct("<IBBHQQQQQQII")
_CRC: Final = Struct("<I")


class RecordError(ValueError):
    """Bytes are not a record."""


class Entry(NamedTuple):
    """An entry with its place in the log."""

    index: Index  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]
    term: Term
    kind: EntryKind
    time: WallMicros
    session: int
    sequence: int
    ack_below: int
    data: bytes


class Proposal(NamedTuple):
    """An entry that has no place yet: index, term and time are the leader's to give."""

    kind: EntryKind
    session: int
    sequence: int
    ack_below: int
    data: bytes


Draft: TypeAlias = tuple[Proposal, ...]
"""Entries that are proposed together."""


def command(data: bytes, session: int = 0, sequence: int = 0, ack_below: int = 0) -> Draft:
    """A batch of one user entry."""
    return (Proposal("command", session, sequence, ack_below, data),)


def size(entry: Entry | Proposal) -> int:
    """Bytes of its record."""
    return HEADER_BYTES + len(entry.data)


def log_id(entry: Entry) -> LogId:
    """Position and term."""
    return LogId(entry.term, entry.index)


def encode(entry: Entry) -> bytes:
    """Header and payload."""
    data = entry.data
    header = _HEADER.pack(
        len(data),
        KINDS.index(entry.kind),
        0,
        RECORD_VERSION,
        entry.index,
        entry.term,
        entry.time,
        entry.session,
        entry.sequence,
        entry.ack_below,
        crc32c(data),
        0,
    )
    return header[:60] + _CRC.pack(crc32c(header[:60])) + data


def decode(source: bytes, at: int = 0) -> tuple[Entry, int]:
    """The record that begins at `at`, with both checksums checked, and where the next one begins.

    Raises:
        RecordError: the bytes are cut off, damaged, or of a later release.
    """
    rest = len(source) - at
    if rest < HEADER_BYTES:
        raise RecordError(f"a record needs {HEADER_BYTES} bytes, {rest} are there")
    length, kind, _, version, index, term, time, session, sequence, ack_below, crc, header_crc = _HEADER.unpack_from(
        source, at
    )
    if crc32c(source[at : at + 60]) != header_crc:
        raise RecordError("a record header's checksum does not match")
    if not 0 < version <= RECORD_VERSION:
        raise RecordError(
            f"the record at index {index} has format {version}; this release reads up to {RECORD_VERSION}"
        )
    if kind >= len(KINDS):
        raise RecordError(f"the record at index {index} has an unknown kind {kind}")
    end = at + HEADER_BYTES + length
    if len(source) < end:
        raise RecordError(f"a record needs {HEADER_BYTES + length} bytes, {rest} are there")
    data = bytes(source[at + HEADER_BYTES : end])
    if crc32c(data) != crc:
        raise RecordError(f"the payload checksum of the record at index {index} does not match")
    return Entry(index, term, KINDS[kind], time, session, sequence, ack_below, data), end


def decode_all(source: bytes) -> tuple[Entry, ...]:
    """A run of records that fills `source`.

    Raises:
        RecordError: of the first record that is not one.
    """
    entries: list[Entry] = []
    at = 0
    while at < len(source):
        entry, at = decode(source, at)
        entries.append(entry)
    return tuple(entries)
