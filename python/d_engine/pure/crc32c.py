"""CRC32C (Castagnoli), the checksum of records: slow here, so never on the way of a write."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

__all__ = ["crc32c"]


def _table() -> tuple[int, ...]:
    table: list[int] = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F6_3B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_TABLE: Final = _table()


@lru_cache(maxsize=4096)
def crc32c(data: bytes) -> int:
    """The checksum of these bytes."""
    crc, table = 0xFFFF_FFFF, _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFF_FFFF
