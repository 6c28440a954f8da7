"""The file with the local token."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from opsuite_rpc.identity import local_token
from opsuite_rpc.settings import CannotServe


def test_the_token_is_made_once_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    before = os.umask(0)
    try:
        local_token(path)
    finally:
        os.umask(before)
    text = path.read_text().strip()

    assert local_token(path).matches(text)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(text) >= 43  # 32 random bytes
    assert not local_token(path).matches(text[:-1])
    assert list(tmp_path.iterdir()) == [path]


def test_processes_that_start_together_agree_on_one_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: local_token(path), range(32)))
    text = path.read_text().strip()

    assert all(token.matches(text) for token in made)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_may_read_or_write_stops_the_start(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    local_token(path)
    path.chmod(mode)

    with pytest.raises(CannotServe, match="mode 0600"):
        local_token(path)


def test_an_empty_file_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(mode=0o600)

    with pytest.raises(CannotServe, match="empty"):
        local_token(path)
