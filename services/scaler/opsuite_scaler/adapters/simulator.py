"""Plays backtests in a helper process, so that neither the loop nor a live decision waits for one.

`python -m opsuite_scaler.adapters.simulator` is the helper: a job comes in on its standard input, how far it is and the
outcome go out on its standard output, each as a length and a pickle. It is our own child with our own data, and ends
with its parent: what it writes nobody reads then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from opsuite_kernel.errors import Internal, InvalidInput, OpsuiteError, Unavailable, Violation
from opsuite_scaler.application.playing import played
from opsuite_scaler.application.rehearsal import Job, Outcome
from opsuite_scaler.domain.simulation.contenders import Tools

LENGTH: Final = struct.Struct(">Q")
NICENESS: Final = 10


@dataclass(frozen=True, slots=True)
class Failed:
    """An error on its way between processes: exceptions of ours cannot be pickled, their arguments are other ones."""

    message: str
    reason: str
    violations: tuple[Violation, ...]

    def error(self) -> OpsuiteError:
        """It again."""
        if self.violations:
            return InvalidInput(self.violations, reason=self.reason)
        return Unavailable(self.message, reason=self.reason)


class ProcessSimulator:
    """Fits `application.rehearsal.Simulator`."""

    async def play(self, job: Job, progress: Callable[[float], None]) -> Outcome:
        """What becomes of a job; a caller that is cancelled ends the helper."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        try:
            return await _talk(process, job, progress)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _talk(process: asyncio.subprocess.Process, job: Job, progress: Callable[[float], None]) -> Outcome:
    assert process.stdin is not None  # noqa: S101  # asked for above
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(_framed(job))
        await process.stdin.drain()
        process.stdin.close()
        while True:
            told = await _frame(process.stdout)
            if isinstance(told, Outcome):
                return told
            if isinstance(told, Failed):
                raise told.error()
            progress(told)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        if await process.wait() > 0:  # a fault of ours, told on standard error: repeating it changes nothing
            raise Internal("the helper that plays backtests failed", reason="SIMULATOR_FAILED") from error
        raise Unavailable("the helper that plays backtests died", reason="SIMULATOR_DIED") from error


async def _frame(stream: asyncio.StreamReader) -> Any:
    (length,) = LENGTH.unpack(await stream.readexactly(LENGTH.size))
    return pickle.loads(await stream.readexactly(length))  # noqa: S301  # of our own child


def _framed(value: object) -> bytes:
    content = pickle.dumps(value)
    return LENGTH.pack(len(content)) + content


# --- the helper ------------------------------------------------------------------------------------------------------


def helper(source: BinaryIO, sink: BinaryIO) -> None:
    """Play the one job that comes in."""
    from opsuite_scaler.adapters.forecasting import fit_holt_winters
    from opsuite_scaler.adapters.formulas import CelFormulas

    def tell(value: object) -> None:
        sink.write(_framed(value))
        sink.flush()

    (length,) = LENGTH.unpack(source.read(LENGTH.size))
    job: Job = pickle.loads(source.read(length))  # noqa: S301  # of our own parent
    try:
        tell(played(job, Tools(fit_holt_winters, CelFormulas()), tell))
    except OpsuiteError as error:
        violations = error.violations if isinstance(error, InvalidInput) else ()
        tell(Failed(error.message, error.reason, violations))


if __name__ == "__main__":
    os.nice(NICENESS)
    with contextlib.suppress(BrokenPipeError):
        helper(sys.stdin.buffer, sys.stdout.buffer)
