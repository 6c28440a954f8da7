"""Scalers on the standard course: twelve loads, what each scaler came to beside the optimum; and the speed of it all.

    python -m bench.scaling_table [seed]

prints a table of every scaler on every load. `main` gives the figures of it that have goals. The loads, the site and
the scalers are in `opsuite_scaler.domain.simulation.course`: the same for the same seed, to the byte.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

from bench.table import Row
from opsuite_scaler.adapters.forecasting import fit_holt_winters
from opsuite_scaler.domain.policy import MetricKind, MetricSpec, ScalingPolicy, TargetKind, TargetRef, TargetType
from opsuite_scaler.domain.simulation.contenders import Contender, Tools, play
from opsuite_scaler.domain.simulation.course import CONTENDERS, FORESEEING, OURS, SITE, Run, run_course
from opsuite_scaler.domain.simulation.generators import KINDS, SEASONAL, Shape, generate
from opsuite_scaler.domain.simulation.plant import Site
from opsuite_scaler.domain.simulation.report import Measures
from opsuite_scaler.domain.simulation.traces import Trace

TICKS_A_MINUTE = 1_000_000
MOST_MORE_HOURS = 1.10
HEAD = ("load", "scaler", "violation minutes", "replica-hours", "of the optimum", "reversals", "blind downs")
LOAD = MetricSpec("load", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 70)
SMALL = ScalingPolicy(TargetRef(TargetKind.WORKLOAD, "web"), (LOAD,), max_replicas=60)

Table = Mapping[tuple[str, str], Measures]


async def main(rounds: int) -> list[Row]:
    """Whether the forecast pays on each load with a season, and ticks in a minute of one core."""
    runs = list(run_course(1, Tools(fit_holt_winters), tuple(sorted(SEASONAL))))
    table = {(run.kind, run.contender): run.measures for run in runs}
    return [*(_forecast_row(table, kind) for kind in sorted(SEASONAL)), *_speed_rows(rounds)]


def _forecast_row(table: Table, kind: str) -> Row:
    without, foreseeing = table[kind, "ours"], table[kind, FORESEEING.name]
    return Row(
        f"forecast on {kind}: replica-hours, with fewer violations",
        f"{foreseeing.replica_hours:.1f} h, {foreseeing.violation_minutes:g} min",
        f"{without.replica_hours:.1f} h, {without.violation_minutes:g} min without",
        foreseeing.replica_hours / without.replica_hours
        if foreseeing.violation_minutes < without.violation_minutes
        else None,
        MOST_MORE_HOURS,
        why_not="" if foreseeing.violation_minutes < without.violation_minutes else "no fewer violations",
    )


def _speed_rows(rounds: int) -> list[Row]:
    """Processor time counts: on a machine with other things to do the clock says little."""
    trace = generate("daily_weekly", 1, Shape(timedelta(hours=24)))
    found = []
    for name, policy in (("one number for all replicas", SMALL), ("CPU of ten replicas", OURS)):
        best = max(_ticks_a_minute(policy, trace) for _ in range(max(1, rounds // 2)))
        goal = TICKS_A_MINUTE if policy is SMALL else None
        said = f"{best / 1e6:.2f} million"
        found.append(Row(f"backtest, {name}: ticks a minute", said, "", best, goal, at_least=True, unit="ticks"))
    return found


def _ticks_a_minute(policy: ScalingPolicy, trace: Trace) -> float:
    began = time.process_time()
    track = play(Contender("ours", policy), trace, Site())
    return len(track.load) / (time.process_time() - began) * 60


def rendered(runs: Sequence[Run]) -> str:
    """A Markdown table of the course."""
    best = {run.kind: run.measures.replica_hours for run in runs if run.contender == CONTENDERS[-1].name}
    lines = [HEAD, tuple("-" * len(cell) for cell in HEAD), *(_cells(run, best[run.kind]) for run in runs)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(run: Run, best: float) -> tuple[str, ...]:
    found = run.measures
    return (
        run.kind,
        run.contender,
        f"{found.violation_minutes:.1f}",
        f"{found.replica_hours:.1f}",
        f"{found.replica_hours / best:.2f}",
        str(found.reversals),
        str(found.blind_scale_downs),
    )


if __name__ == "__main__":
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    sys.stdout.write(rendered(list(run_course(seed, Tools(fit_holt_winters), tuple(KINDS)))) + "\n")
    sys.stdout.write(f"\nstart-up {SITE.startup}, violation above {SITE.tolerated_percent:g} % of capacity\n")
