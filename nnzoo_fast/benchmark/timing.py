"""Times candidates fairly: interleaved in one process, on rotating inputs, as medians with their spread.

A shared machine drifts by tens of percent within minutes. Candidates therefore take turns in every round, in an order
drawn anew, and ratios are taken within rounds, where drift hits both sides alike.
"""

from __future__ import annotations

import contextlib
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch

from nnzoo_fast import _extension, machine

LEAST_SAMPLE = 100e-6  # seconds; shorter calls are repeated within a sample


@dataclass(frozen=True)
class Timing:
    """Seconds per call. `first` is the very first call, compilation and packing included."""

    median: float
    low: float
    high: float
    first: float
    samples: list[float]


@dataclass(frozen=True)
class Ratio:
    """How many times the first is faster than the second: median and quartiles over rounds."""

    low: float
    median: float
    high: float

    @staticmethod
    def of(ours: Timing, peer: Timing) -> Ratio:
        return Ratio(*quartiles([theirs / mine for mine, theirs in zip(ours.samples, peer.samples, strict=True)]))


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def interleave(
    candidates: Mapping[str, Callable[[int], object]], seconds: float, rounds: tuple[int, int] = (7, 300), device="cpu"
) -> tuple[dict[str, Timing], dict[str, str]]:
    """Times every candidate in turn, round by round.

    Args:
        candidates: each is called with the number of the call, by which it picks its inputs. No number comes twice
            but in first calls, so that no candidate finds in the caches what another one fetched.
        seconds: how long to measure all of them together, after their first calls.
        rounds: the least and the most rounds.

    Returns:
        A timing per candidate, and for each that raised in its first call, why.
    """
    first, failures, repeats = {}, {}, {}
    for name, call in candidates.items():
        try:
            first[name] = _seconds(call, 0, 1, device)
            again = _seconds(call, 1, 1, device)
            repeats[name] = max(1, round(LEAST_SAMPLE / max(again, 1e-7)))
        except Exception as error:  # a peer may raise anything; the report says what
            failures[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
    names = list(repeats)
    samples: dict[str, list[float]] = {name: [] for name in names}
    end, done, number, chance = time.perf_counter() + seconds, 0, 0, random.Random(0)
    while names and done < rounds[1] and (done < rounds[0] or time.perf_counter() < end):
        # Each runs behind each: what ran before has left its results in the caches, where the next one's will lie.
        for name in chance.sample(names, len(names)):
            samples[name].append(_seconds(candidates[name], number, repeats[name], device))
            number += repeats[name]
        done += 1
    timings = {}
    for name in names:
        low, middle, high = quartiles(samples[name])
        timings[name] = Timing(middle, low, high, first[name], samples[name])
    return timings, failures


def _seconds(call: Callable[[int], object], number: int, repeats: int, device: str) -> float:
    """Seconds per call, over `repeats` calls that start with input `number`."""
    if device == "cpu":
        start = time.perf_counter()
        for repeat in range(repeats):
            call(number + repeat)
        return (time.perf_counter() - start) / repeats
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    for repeat in range(repeats):
        call(number + repeat)
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3 / repeats


@contextlib.contextmanager
def pinned() -> Iterator[bool]:
    """Ties each of torch's threads to a core of its own; False where that isn't possible."""
    cpus, threads = machine.physical_cpus(), torch.get_num_threads()
    if _extension._C is None or threads > len(cpus) or not hasattr(os, "sched_setaffinity"):
        yield False
        return
    before = os.sched_getaffinity(0)
    try:
        yield _extension._C.bind_threads([[cpu] for cpu in cpus[:threads]])
    finally:
        _extension._C.bind_threads([sorted(before)] * threads)
