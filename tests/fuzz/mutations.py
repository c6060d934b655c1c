"""Damage to files, as disks, networks, broken programs and attackers do it: each from a seed, to be had again."""

import random
import struct
from collections.abc import Callable

MOST = 300_000  # bytes of a damaged file
_SIZES = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1)


def mutated(originals: list[bytes], seed: int) -> bytes:
    """Damage one of several files in one to four ways."""
    chance = random.Random(seed)
    data = bytearray(chance.choice(originals))
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if data:
            chance.choice(_WAYS)(data, chance, originals)
    return bytes(data[:MOST])


def _place(data: bytearray, chance: random.Random) -> int:
    """Half of all places are in the first 512 bytes, where headers are."""
    return chance.randrange(min(len(data), 512) if chance.random() < 0.5 else len(data))


def _flip(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    for _i in range(chance.choice((1, 2, 8, 64))):
        data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _overwrite(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    at = _place(data, chance)
    length = min(chance.choice((1, 4, 16, 256)), len(data) - at)
    data[at : at + length] = chance.choice((bytes(length), b"\xff" * length, chance.randbytes(length)))


def _resize(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    """Write a number where a size may stand."""
    at, kind = _place(data, chance), chance.choice("BHIQ")
    number = struct.pack(chance.choice("<>") + kind, chance.choice(_SIZES) % 2 ** (8 * struct.calcsize(kind)))
    data[at : at + len(number)] = number


def _truncate(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    del data[chance.randrange(len(data)) :]


def _cut_out(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    at = _place(data, chance)
    del data[at : at + chance.choice((1, 16, 1024, len(data) // 2))]


def _repeat(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    at = _place(data, chance)
    part = data[at : at + chance.choice((1, 16, 1024))]
    data[at:at] = part * chance.choice((1, 2, 20))


def _splice(data: bytearray, chance: random.Random, originals: list[bytes]) -> None:
    """Go on with the end or the middle of another file."""
    other = chance.choice(originals)
    at = chance.randrange(len(other))
    data[chance.randrange(len(data)) :] = other[at : at + chance.choice((64, 4096, len(other)))]


def _exchange_numbers(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    """In text, exchange a digit for something that parsers treat in their own way."""
    digits = [at for at in range(min(len(data), 20_000)) if 48 <= data[at] <= 57]
    if digits:
        at = chance.choice(digits)
        data[at : at + 1] = chance.choice(_TEXTS)


_TEXTS = b"", b"-1", b"nan", b"1e999", b"9" * 40, b"'", b'"', b"\n", b",", b"{", b"*a", b"!!python/x "
_WAYS: list[Callable[[bytearray, random.Random, list[bytes]], None]] = [
    *(_flip, _flip, _overwrite, _resize, _resize, _truncate, _cut_out, _repeat, _splice, _exchange_numbers)
]
