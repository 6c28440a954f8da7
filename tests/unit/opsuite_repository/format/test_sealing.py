"""Sealing against the papers: a Poly1305 written out in integers, AES in counter mode block by block."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from opsuite_repository.errors import Malformed, Unauthentic
from opsuite_repository.format.sealing import OVERHEAD_BYTES, MasterKey, Sealer

KEY = MasterKey(encrypt=bytes(range(32)), mac_k=bytes(range(40, 56)), mac_r=bytes(range(200, 216)))


def aes(key: bytes, block: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)


def poly1305_aes(k: bytes, r: bytes, nonce: bytes, message: bytes) -> bytes:
    clamped = int.from_bytes(r, "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(message), 16):
        total = (total + int.from_bytes(message[at : at + 16] + b"\1", "little")) * clamped % ((1 << 130) - 5)
    return ((total + int.from_bytes(aes(k, nonce), "little")) % (1 << 128)).to_bytes(16, "little")


def counter_mode(key: bytes, iv: bytes, data: bytes) -> bytes:
    first = int.from_bytes(iv, "big")
    stream = b"".join(
        aes(key, ((first + block) % (1 << 128)).to_bytes(16, "big")) for block in range(len(data) // 16 + 1)
    )
    return bytes(a ^ b for a, b in zip(data, stream, strict=False))


@given(st.binary(max_size=100))
def test_what_is_sealed_is_what_the_papers_say(plain: bytes) -> None:
    sealed = Sealer(KEY).seal(plain)
    iv, ciphertext, mac = sealed[:16], sealed[16:-16], sealed[-16:]

    assert len(sealed) == len(plain) + OVERHEAD_BYTES
    assert counter_mode(KEY.encrypt, iv, ciphertext) == plain
    assert mac == poly1305_aes(KEY.mac_k, KEY.mac_r, iv, ciphertext)


def test_the_example_of_the_poly1305_paper_opens() -> None:
    # D. J. Bernstein, "The Poly1305-AES message-authentication code", appendix B, first example.
    key = MasterKey(
        encrypt=b"e" * 32,
        mac_k=bytes.fromhex("ec074c835580741701425b623235add6"),
        mac_r=bytes.fromhex("851fc40c3467ac0be05cc20404f3f700"),
    )
    nonce, message = bytes.fromhex("fb447350c4e868c52ac3275cf9d4327e"), bytes.fromhex("f3f6")

    opened = Sealer(key).open(nonce + message + bytes.fromhex("f4c633c3044fc145f84f335cb81953de"))

    assert opened == counter_mode(key.encrypt, nonce, message)


def test_the_counter_block_runs_over_into_zero() -> None:
    iv, ciphertext = b"\xff" * 16, b"x" * 50
    sealed = iv + ciphertext + poly1305_aes(KEY.mac_k, KEY.mac_r, iv, ciphertext)

    assert Sealer(KEY).open(sealed) == counter_mode(KEY.encrypt, iv, ciphertext)


@given(st.binary(max_size=300))
def test_whatever_is_sealed_can_be_opened(plain: bytes) -> None:
    assert Sealer(KEY).open(memoryview(Sealer(KEY).seal(memoryview(plain)))) == plain


def test_every_flipped_bit_is_noticed() -> None:
    sealer = Sealer(KEY)
    sealed = sealer.seal(b"twenty bytes of text")
    for at in range(len(sealed)):
        for bit in range(8):
            damaged = bytearray(sealed)
            damaged[at] ^= 1 << bit
            with pytest.raises(Unauthentic):
                sealer.open(damaged)


@pytest.mark.parametrize("length", [0, 1, 31])
def test_what_is_too_short_was_never_sealed(length: int) -> None:
    with pytest.raises(Malformed):
        Sealer(KEY).open(bytes(length))


def test_an_iv_of_zeroes_is_refused_although_its_seal_fits() -> None:
    iv = bytes(16)
    with pytest.raises(Unauthentic):
        Sealer(KEY).open(iv + b"text" + poly1305_aes(KEY.mac_k, KEY.mac_r, iv, b"text"))


def test_another_key_does_not_open() -> None:
    with pytest.raises(Unauthentic):
        Sealer(MasterKey.random()).open(Sealer(KEY).seal(b"text"))


def test_no_iv_comes_twice_in_any_thread() -> None:
    sealer = Sealer(KEY)
    with ThreadPoolExecutor(4) as threads:
        sealed = list(threads.map(lambda _: [sealer.seal(b"x")[:16] for _ in range(700)], range(4)))

    assert len({iv for ivs in sealed for iv in ivs}) == 4 * 700


@pytest.mark.parametrize("wrong", [b"", b"k" * 31, bytes(32)])
def test_a_key_of_another_length_or_of_zeroes_is_refused(wrong: bytes) -> None:
    with pytest.raises(Malformed):
        MasterKey(encrypt=wrong, mac_k=KEY.mac_k, mac_r=KEY.mac_r)


def test_a_key_does_not_show_itself() -> None:
    assert "\\x01" not in repr(KEY)
