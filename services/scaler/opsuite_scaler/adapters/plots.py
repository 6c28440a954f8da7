"""Pictures of backtests: load, capacity and decisions over time. Equal backtests give equal bytes.

matplotlib is imported for the first picture. Its settings are global, so pictures are drawn one at a time.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from opsuite_kernel.errors import Conflict, Unavailable
from opsuite_scaler.application.rehearsal import Played, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, ROW_HEIGHT = 12.0, 2.6
MOST_PANELS: Final = 12
UNITS: Final = ((timedelta(days=4), "days"), (timedelta(hours=4), "hours"), (timedelta(minutes=4), "minutes"))
"""What time is told in, by how long a picture is at least; shorter ones in seconds."""
FIXED: Final[Any] = {
    "svg.hashsalt": "opsuite",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is everywhere
    "font.size": 9,
}

_ONE_AT_A_TIME: Final = threading.Lock()


def plot(title: str, played: Sequence[Played], kind: str) -> bytes:
    """A picture as "png" or "svg", one panel for each of the first twelve contenders.

    Raises: Conflict (NO_SERIES), Unavailable (no matplotlib).
    """
    panels = [(one, one.series) for one in played if one.series is not None][:MOST_PANELS]
    if not panels:
        raise Conflict("the backtest kept no series; run it with keep_series", reason="NO_SERIES")
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Unavailable("matplotlib is not installed: install the extra opsuite[scaler]") from error
    with _ONE_AT_A_TIME, mpl.rc_context(FIXED):
        figure = Figure(figsize=(WIDTH, 0.6 + ROW_HEIGHT * len(panels)), layout="constrained", dpi=100)
        FigureCanvasAgg(figure)
        figure.suptitle(title)
        unit = unit_of(max(series.step * len(series.load) for _, series in panels))
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axis, (one, series) in zip(axes, panels, strict=True):
            _panel(axis, one, series, unit)
        axes[-1].set_xlabel(unit)
        axes[0].legend(loc="upper left", ncols=4, fontsize=8)
        return _bytes(figure, kind)


def unit_of(length: timedelta) -> str:
    """What time is told in, in a picture as long as that."""
    return next((unit for least, unit in UNITS if length >= least), "seconds")


def _panel(axis: Axes, played: Played, series: Series, unit: str) -> None:
    step = series.step / timedelta(**{unit: 1})
    times = [index * step for index in range(len(series.load))]
    capacity = played.measures.capacity_per_replica
    need = [load / capacity for load in series.load]
    axis.fill_between(times, need, step="post", color="#9db8d2", label="load, in replicas", linewidth=0)
    axis.step(times, series.serving, where="post", color="#2f6f3e", linewidth=1.2, label="serving")
    axis.step(times, series.desired, where="post", color="#b5462f", linewidth=0.9, linestyle="--", label="asked for")
    ups, downs = _changes(series)
    axis.plot([times[i] for i in ups], [series.desired[i] for i in ups], "^", color="#b5462f", markersize=3)
    axis.plot([times[i] for i in downs], [series.desired[i] for i in downs], "v", color="#b5462f", markersize=3)
    short = [there < load for there, load in zip(series.serving, need, strict=True)]
    axis.fill_between(times, series.serving, need, where=short, step="post", color="#d7261e", alpha=0.6, label="short")
    axis.set_ylabel("replicas")
    axis.set_ylim(bottom=0)
    axis.set_title(_caption(played), loc="left", fontsize=9)


def _changes(series: Series) -> tuple[list[int], list[int]]:
    pairs = list(enumerate(zip(series.desired, series.desired[1:], strict=False), 1))
    return [at for at, (before, after) in pairs if after > before], [at for at, (was, now) in pairs if now < was]


def _caption(played: Played) -> str:
    found = played.measures
    return (
        f"{played.contender}: {found.violation_minutes:.3g} min too few, {found.replica_hours:.3g} replica-hours "
        f"(optimum {played.best.replica_hours:.3g}), reversals: {found.reversals}"
    )


def _bytes(figure: Any, kind: str) -> bytes:
    sink = io.BytesIO()
    metadata = {"Date": None, "Creator": "opsuite"} if kind == "svg" else {"Software": "opsuite"}
    figure.savefig(sink, format=kind, metadata=metadata)
    return sink.getvalue()
