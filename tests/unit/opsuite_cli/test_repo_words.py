"""What `opsuite repo` reads from the command line and prints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer

from opsuite_cli import repo_words
from opsuite_cli.repo_ending import exit_status
from opsuite_cli.repo_options import count, policy
from opsuite_kernel.errors import NotFound
from opsuite_repository.errors import Cancelled, Locked, RepositoryMissing, WrongPassword
from opsuite_repository.format.times import Instant
from opsuite_repository.periods import Span
from opsuite_repository.pipeline.progress import Progress
from opsuite_repository.retention import Policy

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), ("512K", 512 << 10), ("100MiB", 100 * MIB), ("2g", 2 << 30), ("1TB", 1 << 40)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert repo_words.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5M", "M", "1X", "one"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        repo_words.parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.500 KiB"), (MIB, "1.000 MiB"), (3 << 40, "3.000 TiB")]
)
def test_sizes_are_written(size: int, text: str) -> None:
    assert repo_words.size(size) == text


def test_times_are_local_unless_they_say_otherwise() -> None:
    assert repo_words.parse_time("2024-05-06 07:08") == datetime(2024, 5, 6, 7, 8).astimezone()  # local
    assert repo_words.parse_time("2024-05-06T07:08:09+02:00") == datetime(2024, 5, 6, 5, 8, 9, tzinfo=UTC)
    with pytest.raises(typer.BadParameter):
        repo_words.parse_time("yesterday")


def test_a_time_that_no_calendar_has_is_written_all_the_same() -> None:
    assert repo_words.local(Instant(-62_200_000_000 * 10**9)).startswith("0000-")


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress(), "[0:00]  0 files  0 B  0 B/s"),
        (
            Progress(3, 6, 5 * MIB, 10 * MIB, timedelta(seconds=64)),
            "[1:04] 50.0 %  3 files  5.000 MiB of 10.000 MiB  80.000 KiB/s  1:04 left",
        ),
        (
            Progress(9, 6, 7200 * MIB, 10 * MIB, timedelta(hours=2)),
            "[2:00:00] 100.0 %  9 files  7.031 GiB of 10.000 MiB  1.000 MiB/s",
        ),
    ],
)
def test_progress_says_how_far_and_how_long(progress: Progress, text: str) -> None:
    assert repo_words.progress_line(progress) == text


def test_bytes_that_are_not_utf8_are_shown_as_escapes() -> None:
    assert repo_words.shown(b"caf\xe9 \xc3\xbc") == "caf\\xe9 ü"


def test_a_name_cannot_pretend_to_be_two_lines_or_recolour_the_screen() -> None:
    assert repo_words.on_one_line(b"a\nb\x1b[31m\xc2\x9b") == "a\\x0ab\\x1b[31m\\x9b"


def test_files_of_patterns_know_comments_and_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE", "/var/cache")

    assert repo_words.patterns_in("# none\n\n *.tmp \n$CACHE/x\n") == ["*.tmp", "/var/cache/x"]


def test_options_become_a_policy() -> None:
    chosen = {"last": "3", "daily": "unlimited", "weekly": "", "within": "1y2m", "within_hourly": "", "tags": ["a,b"]}

    assert policy(chosen) == Policy(last=3, daily=-1, within=Span(years=1, months=2), tags=(("a", "b"),))
    assert not policy({"last": "0", "tags": None})
    for wrong in ("-1", "many", "1.5"):
        with pytest.raises(typer.BadParameter):
            count(wrong)


def test_errors_have_the_statuses_of_restic() -> None:
    errors = [RepositoryMissing("x"), Locked("x"), WrongPassword("x"), Cancelled(), NotFound("snapshot", "x")]

    assert [exit_status(error) for error in errors] == [10, 11, 12, 130, 1]
