"""Playing a job from beginning to end. Pure: whoever calls decides where it runs."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping

from opsuite_scaler.application.rehearsal import Job, Outcome, Played, Series
from opsuite_scaler.domain.simulation.backtest import Progress, Track
from opsuite_scaler.domain.simulation.contenders import Tools, play, ticks_of
from opsuite_scaler.domain.simulation.report import best_of, measured, partings

MOST_POINTS = 1200
"""Entries of a series: more than a plot has pixels to show, and a page of contenders still fits into a message."""
MOST_PARTINGS = 1000


def played(job: Job, tools: Tools, progress: Callable[[float], None]) -> Outcome:
    """Every contender of a job, one after the other."""
    lengths = [ticks_of(contender, job.trace) for contender in job.contenders]
    total = max(1, sum(lengths))
    tracks, done = [], 0
    for contender, length in zip(job.contenders, lengths, strict=True):
        tracks.append(play(contender, job.trace, job.site, tools, _share(progress, done, total)))
        done += length
    parted = partings(tracks[0], tracks[1], MOST_PARTINGS) if job.compares else []
    results = tuple(
        Played(
            track.name,
            measured(track),
            best_of(track, contender.policy.min_replicas, contender.policy.max_replicas),
            reasons_of(track),
            series_of(track) if job.keep_series else None,
        )
        for contender, track in zip(job.contenders, tracks, strict=True)
    )
    return Outcome(results, tuple(parted), done)


def _share(progress: Callable[[float], None], before: int, total: int) -> Progress:
    return lambda done, _: progress((before + done) / total)


def reasons_of(track: Track) -> Mapping[str, int]:
    """Steps of time by the reason that was in force, without those before the first."""
    counts = Counter(track.reason)
    return {track.reasons[place]: count for place, count in sorted(counts.items()) if track.reasons[place]}


def series_of(track: Track, most: int = MOST_POINTS) -> Series:
    """A track, thinned out."""
    count = len(track.load)
    stride = max(1, -(-count // most))
    ends = range(stride, count + stride, stride)
    return Series(
        track.start,
        track.tick * stride,
        [_mean(track.load[end - stride : end]) for end in ends],
        [min(track.serving[end - stride : end]) for end in ends],
        [track.size[min(end, count) - 1] for end in ends],
        [track.reasons[track.reason[min(end, count) - 1]] for end in ends],
    )


def _mean(values: array[float]) -> float:
    return round(sum(values) / len(values), 6)
