"""A process that forks shares the memory in which fresh IVs wait: they must not be used on both sides."""

from __future__ import annotations

import os

from opsuite_repository.format.sealing import IV_BYTES, MasterKey, Sealer


def test_parent_and_child_never_use_the_same_iv() -> None:
    sealer = Sealer(MasterKey.random())
    sealer.seal(b"so that IVs are drawn")
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:
        os.write(writing, sealer.seal(b"child")[:IV_BYTES])
        os._exit(0)
    os.close(writing)
    ours = sealer.seal(b"parent")[:IV_BYTES]

    with os.fdopen(reading, "rb") as pipe:
        theirs = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    assert len(theirs) == IV_BYTES
    assert theirs != ours
