"""Bytes on disk and on the wire: those of the native core, to the bit."""

import random

import pytest

from d_engine.pure import Configuration, ConfigurationError, Entry, Member, RecordError, SplitMix64
from d_engine.pure import configuration as configurations
from d_engine.pure import entry as entries
from d_engine.pure.crc32c import crc32c


def test_crc32c_has_its_published_check_value():
    assert crc32c(b"123456789") == 0xE306_9283
    assert crc32c(b"") == 0
    assert crc32c(bytes(32)) == 0x8A91_36AA


def test_splitmix64_gives_its_published_numbers():
    stream = SplitMix64(1_234_567)
    assert [stream.next() for _ in range(5)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_a_number_from_a_range():
    stream = SplitMix64(1)
    assert {stream.between(3, 5) for _ in range(100)} == {3, 4, 5}
    assert stream.between(7, 7) == 7
    assert 0 <= stream.between(0, 2**64 - 1) < 2**64


def test_a_record_stands_as_its_format_says():
    record = entries.encode(Entry(5, 3, "command", 1_000, 7, 8, 2, b"hello"))
    assert record[:4] == (5).to_bytes(4, "little")
    assert record[4:8] == bytes([1, 0, 1, 0])
    numbers = [int.from_bytes(record[at : at + 8], "little") for at in range(8, 56, 8)]
    assert numbers == [5, 3, 1_000, 7, 8, 2]
    assert int.from_bytes(record[56:60], "little") == crc32c(b"hello")
    assert int.from_bytes(record[60:64], "little") == crc32c(record[:60])
    assert record[64:] == b"hello"


@pytest.mark.parametrize("kind", entries.KINDS)
def test_records_come_back(kind):
    some = tuple(Entry(index, 2, kind, 9, 1, 2, 3, bytes(index)) for index in range(4, 9))
    source = b"".join(map(entries.encode, some))
    assert entries.decode_all(source) == some


def test_every_damaged_bit_of_a_record_is_found():
    record = entries.encode(Entry(5, 3, "command", 1_000, 7, 8, 2, b"hello"))
    for at in range(8 * len(record)):
        damaged = bytearray(record)
        damaged[at // 8] ^= 1 << at % 8
        with pytest.raises(RecordError):
            entries.decode_all(bytes(damaged))
    for length in range(1, len(record)):
        with pytest.raises(RecordError):
            entries.decode_all(record[:length])


def some_configuration(random):
    members = []
    for node in sorted(random.sample(range(1, 100), random.randrange(5))):
        members.append(
            Member(
                node,
                f"höst-{node}:1",
                random.choice((None, "", "c:2")),
                random.choice(configurations.MEMBER_ROLES),
                random.randrange(-(2**31), 2**31),
                random.random() < 0.5,
                random.choice((None, 0, random.getrandbits(128))),
                random.random() < 0.5,
            )
        )
    outgoing = tuple(range(random.randrange(3)))
    return Configuration(tuple(members), outgoing, random.getrandbits(64))


def test_configurations_come_back(seed):
    stream = random.Random(seed)
    for _ in range(300):
        one = some_configuration(stream)
        assert configurations.decode(configurations.encode(one)) == one


def test_a_configuration_stands_as_its_format_says():
    one = Configuration((Member(1, "a:1", "b:2", "witness", -1, True, 5, True),), (1, 2), 9)
    assert configurations.encode(one) == bytes.fromhex(
        "01 0900000000000000 01000000"
        "0100000000000000 02 0f ffffffff 03000000 613a31 03000000 623a32 05000000000000000000000000000000"
        "02000000 0100000000000000 0200000000000000"
    )


def test_what_is_no_configuration_is_refused(seed):
    stream = random.Random(seed)
    source = configurations.encode(some_configuration(stream)._replace(outgoing=(1,)))
    for length in range(len(source)):
        with pytest.raises(ConfigurationError):
            configurations.decode(source[:length])
    for bad in (source + b"\0", b"\2" + source[1:], b"\0" + source[1:]):
        with pytest.raises(ConfigurationError):
            configurations.decode(bad)
    twice = Configuration((Member(1, "a:1"), Member(1, "a:1")))
    with pytest.raises(ConfigurationError):
        configurations.decode(configurations.encode(twice))
    text = configurations.encode(Configuration((Member(1, "é"),)))
    with pytest.raises(ConfigurationError):
        configurations.decode(text.replace("é".encode(), b"\xff\xff"))
