"""Who backs up and restores in `bench.repository`, and what it costs each: seconds, processor time, memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import psutil
from components import program

PASSWORD: Final = "bench"
_SAMPLES_EVERY: Final = 0.05


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took."""

    seconds: float
    cpu_seconds: float
    memory_bytes: int
    """The most that it and its children had at once, what they share counted once (PSS)."""


class Contestant(Protocol):
    """A program with a repository of its own."""

    @property
    def name(self) -> str: ...

    def backup(self, path: Path) -> Cost:
        """Make a snapshot."""
        ...

    def restore(self, target: Path) -> Cost:
        """Restore the newest snapshot into a folder that is not there."""
        ...

    def stored_bytes(self) -> int:
        """The size of the repository."""
        ...

    def close(self) -> None:
        """End whatever runs."""
        ...


class Restic:
    """restic, a process for each command, as it comes: with its cache, and verifying what it made."""

    name = "restic"

    def __init__(self, folder: Path, executable: Path | None = None) -> None:
        self._program = str(executable or program("restic", "tools/restic/build.sh"))
        self.repository = folder / "restic"
        self._environment = {
            **os.environ,
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_CACHE_DIR": str(folder / "restic.cache"),
        }
        self._run("init")

    def backup(self, path: Path) -> Cost:
        return self._run("backup", str(path))

    def restore(self, target: Path) -> Cost:
        shutil.rmtree(target, ignore_errors=True)
        return self._run("restore", "latest", "--target", str(target))

    def stored_bytes(self) -> int:
        return size_of(self.repository)

    def close(self) -> None:
        pass

    def _run(self, *arguments: str) -> Cost:
        return run([self._program, "--quiet", *arguments], self._environment)


class Borg:
    """Borg, with the compression that is most like ours."""

    name = "borg"

    def __init__(self, folder: Path) -> None:
        self._program = str(program("borg", "apt install borgbackup"))
        self.repository = folder / "borg"
        self._environment = {
            **os.environ,
            "BORG_PASSPHRASE": PASSWORD,
            "BORG_REPO": str(self.repository),
            "BORG_BASE_DIR": str(folder / "borg.base"),
        }
        self._archives = 0
        self._run("init", "--encryption=repokey-blake2")

    def backup(self, path: Path) -> Cost:
        self._archives += 1
        return self._run("create", "--compression=zstd,3", f"::archive{self._archives}", str(path))

    def restore(self, target: Path) -> Cost:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        return self._run("extract", f"::archive{self._archives}", cwd=target)

    def stored_bytes(self) -> int:
        return size_of(self.repository)

    def close(self) -> None:
        pass

    def _run(self, *arguments: str, cwd: Path | None = None) -> Cost:
        return run([self._program, *arguments], self._environment, cwd=cwd)


class Ours:
    """opsuite_repository: a process for each command, or one that stays."""

    def __init__(self, folder: Path, *, is_resident: bool) -> None:
        self.name = "ours, resident" if is_resident else "ours"
        self.repository = folder / ("resident" if is_resident else "ours")
        self._environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_REPOSITORY": str(self.repository)}
        restic = str(program("restic", "tools/restic/build.sh"))
        run([restic, "init", "--quiet"], self._environment)  # so that opening the key costs both the same
        self._process = self._started() if is_resident else None
        if self._process:
            self._order(self._process, {"do": "warm"})

    def backup(self, path: Path) -> Cost:
        return self._do("backup", path)

    def restore(self, target: Path) -> Cost:
        shutil.rmtree(target, ignore_errors=True)
        return self._do("restore", target)

    def stored_bytes(self) -> int:
        return size_of(self.repository)

    def close(self) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.close()
            self._process.wait(60)

    def _do(self, what: str, path: Path) -> Cost:
        order: dict[str, object] = {"do": what, "path": str(path), "resident": self._process is not None}
        if self._process is not None:
            before = Watch(self._process.pid).cpu_seconds()
            with Watch(self._process.pid) as watch:
                self._order(self._process, order)
            return Cost(watch.seconds, watch.cpu_seconds() - before, watch.peak_bytes)
        command = [sys.executable, "-m", "bench.repository_runner"]
        line = json.dumps({**order, "repository": str(self.repository)}) + "\n"
        return run(command, self._environment, stdin=line.encode())

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "bench.repository_runner"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environment,
        )  # fmt: skip

    def _order(self, process: subprocess.Popen[bytes], order: dict[str, object]) -> None:
        assert process.stdin
        assert process.stdout
        process.stdin.write((json.dumps({**order, "repository": str(self.repository)}) + "\n").encode())
        process.stdin.flush()
        if process.stdout.readline().strip() != b'"done"':
            raise RuntimeError(f"{self.name} failed")


class Watch:
    """Seconds and peak memory of a process and its children while a `with` lasts."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.seconds = 0.0
        self.peak_bytes = 0

    def __enter__(self) -> Watch:
        self._thread.start()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._began
        self._ended.set()
        self._thread.join()

    def cpu_seconds(self) -> float:
        """Of all that live now, since each was started."""
        return sum(sum(process.cpu_times()[:2]) for process in self._family())

    def _family(self) -> Iterator[psutil.Process]:
        yield self._process
        yield from self._process.children(recursive=True)

    def _sample(self) -> None:
        while not self._ended.wait(_SAMPLES_EVERY):
            try:
                now = sum(int(process.memory_full_info().pss) for process in self._family())
            except psutil.Error:  # one of them has just ended
                continue
            self.peak_bytes = max(self.peak_bytes, now)


def run(command: Sequence[str], environment: dict[str, str], *, cwd: Path | None = None, stdin: bytes = b"") -> Cost:
    """Run a command that has to succeed."""
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as orders:
        orders.write(stdin)
        orders.seek(0)
        process = subprocess.Popen(
            command, env=environment, cwd=cwd, stdin=orders, stdout=subprocess.DEVNULL, stderr=errors
        )
        with Watch(process.pid) as watch:
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            told = errors.read().decode(errors="replace")[-300:]
            raise RuntimeError(f"{Path(command[0]).name} ended with {process.returncode}: {told}")
    return Cost(watch.seconds, usage.ru_utime + usage.ru_stime, watch.peak_bytes)


def size_of(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def closing_all(contestants: Sequence[Contestant]) -> Iterator[None]:
    try:
        yield
    finally:
        for contestant in contestants:
            contestant.close()
