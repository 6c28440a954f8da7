"""The view in a terminal: stages and steps with their durations, redrawn in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from opsuite.deployer.v1.deployment_pb2 import StageRun, StepRun
from opsuite_cli import screen, words
from opsuite_cli.picture import Picture
from opsuite_cli.rollout_tree import Line, compact

SIGNS = {
    "SUCCEEDED": "✓",
    "FAILED": "✗",
    "TIMED_OUT": "✗",
    "CANCELLED": "■",
    "SKIPPED": "-",
    "PENDING": "·",
    "INTERRUPTED": "?",
    "FAILED_CONTINUED": "!",
}
REDRAWS_PER_SECOND = 12


class LiveView:
    """Shows deployments one below the other, as `Picture`s that somebody else keeps true."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._pictures: list[Picture] = []
        self._now = now
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(
            get_renderable=self.picture,
            console=screen.console(),
            refresh_per_second=REDRAWS_PER_SECOND,
            vertical_overflow="visible",
        )

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def add(self, picture: Picture) -> None:
        """Show another deployment below the others."""
        self._pictures.append(picture)

    def line(self, text: str) -> None:
        """A line above the picture, such as one that a step wrote."""
        self._live.console.print(screen.visible(text), style="dim")

    def picture(self) -> RenderableType:
        """All of it as it stands."""
        now = self._now()
        return Group(*(part for picture in self._pictures for part in self._deployment(picture, now)))

    def _deployment(self, picture: Picture, now: datetime) -> Iterator[RenderableType]:
        deployment = picture.deployment
        status = words.status(deployment.status)
        head = Text()
        head.append("rollback " if deployment.rollback_of else "", "yellow")
        head.append(words.title(deployment), "bold")
        head.append(f"  {status}", screen.COLOURS.get(status, ""))
        if deployment.queue_position:
            head.append(f"  position {deployment.queue_position}")
        head.append(f"  {words.seconds(words.took(deployment, now))}", "dim")
        yield head
        grid = Table.grid(padding=(0, 1))
        for stage in deployment.stages:
            if not words.is_idle_hooks(stage):
                self._stage(grid, stage, now)
        yield grid

    def _stage(self, grid: Table, stage: StageRun, now: datetime) -> None:
        title = Text(f"hooks {stage.name}") if stage.is_hooks else Text(stage.name, "bold")
        grid.add_row(Text("  "), self._sign(stage), title, Text(""), Text(""))
        runs: list[Any] = [*stage.steps, *stage.gates]
        for run in runs:
            again = f" (attempt {run.attempt})" if run.attempt > 1 else ""
            took = words.seconds(words.took(run, now))
            said = run.message if words.step_status(run.status) not in {"SUCCEEDED", "PENDING"} else ""
            rollout = run.rollout if isinstance(run, StepRun) and run.HasField("rollout") else None
            name = Text("  " + run.name + again)
            grid.add_row(
                Text("  "),
                self._sign(run),
                name,
                Text(took, "dim", justify="right"),
                Text(screen.visible(said or (rollout.message if rollout else "")), "dim"),
            )
            for line in compact(rollout) if rollout else ():
                grid.add_row("", "", "", "", screen.styled(line))

    def _sign(self, run: Any) -> RenderableType:
        status = words.step_status(run.status)
        if status == "RUNNING":
            return self._spinner
        return Text(SIGNS.get(status, " "), screen.COLOURS.get(status, ""))


class LiveTree:
    """Shows whatever `lines_of` makes of what it is given, redrawn in place."""

    def __init__(self, lines_of: Callable[[Any], Iterable[Line]]) -> None:
        self._lines_of = lines_of
        self._given: Any = ()
        self._live = Live(
            get_renderable=self.picture,
            console=screen.console(),
            refresh_per_second=REDRAWS_PER_SECOND,
            vertical_overflow="visible",
        )

    def __enter__(self) -> Callable[[Any], None]:
        self._live.start()
        return self.show

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, given: Any) -> None:
        """Show this from now on."""
        self._given = given

    def picture(self) -> RenderableType:
        """All of it as it stands."""
        return Group(*(screen.styled(line) for line in self._lines_of(self._given)))
