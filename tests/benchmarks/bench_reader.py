"""Reading DICOM beside every other reader: the same files, values compared, interleaved, the fastest of some repeats.

    python tests/benchmarks/bench_reader.py             one core: CT series in eight transfer syntaxes, and films
    python tests/benchmarks/bench_reader.py --threads 2 two cores
    python tests/benchmarks/bench_reader.py --quick     fewer slices and repeats
    python tests/benchmarks/bench_reader.py --check     exit with 1 where a goal is missed

Wall and CPU milliseconds a slice, and how many times medio's they are. `raw` is the decoder alone on codestreams in memory into one fresh array, or open and read for
uncompressed files: a floor, not a reader. The slices are a real CT with its real headers where `../shared/data` has it, else made up.
"""

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from reader_data import FILM_SYNTAXES, SYNTAXES, Sample, Syntax, make_films, make_series
from reader_peers import PEERS, GdcmChild, PeerError, raw_reader

Reader = Callable[[Sequence[Path]], np.ndarray]
GOALS = {  # of MONAI's ITKReader, on one core and on two
    "uncompressed LE": {1: 15.0},
    "RLE": {1: 40.0},
    "HTJ2K": {1: 5.0},
    "JPEG lossless": {1: 2.8},
    "JPEG-LS": {1: 1.8, 2: 2.7},
    "JPEG 2000": {1: 1.2, 2: 1.9},
    "film uncompressed": {1: 30.0},
    "film HTJ2K": {1: 6.0},
}
RAW_GOALS = {"HTJ2K": 1.25, "RLE": 1.25, "film HTJ2K": 1.25}  # at most this many times the raw decoder
RAW_GOAL = 1.15


def main() -> int:
    """Run the comparison; the return value is the exit code."""
    options = _options()
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(cores[: options.threads]))
    warnings.filterwarnings("ignore")
    import medio  # after the affinity: readers look at how many cores there are

    def wanted(syntaxes: dict[str, Syntax]) -> dict[str, Syntax]:
        return {name: syntax for name, syntax in syntaxes.items() if options.only in name}

    failures: list[str] = []
    repeats = options.repeats or (2 if options.quick else 3)
    with tempfile.TemporaryDirectory() as folder, GdcmChild() as gdcm:
        readers: dict[str, Reader] = {"medio": lambda paths: medio.read(paths).array, **PEERS, "gdcm": gdcm.read}
        samples = [
            *make_series(Path(folder), wanted(SYNTAXES), slices=options.slices or (10 if options.quick else 60)),
            *make_films(Path(folder), wanted(FILM_SYNTAXES), count=1 if options.quick else 2),
        ]
        for sample in samples:
            failures += _compare(sample, readers, repeats, options.threads)
    for failure in failures:
        print(f"MISSED {failure}")
    return 1 if failures and options.check else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="cores that every reader may use")
    parser.add_argument("--quick", action="store_true", help="fewer slices and repeats")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a goal is missed")
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--slices", type=int, default=0, help="of a CT series; 60, or 10 with --quick")
    parser.add_argument("--only", default="", help="samples whose name contains this")
    return parser.parse_args()


def _compare(sample: Sample, readers: dict[str, Reader], repeats: int, threads: int) -> list[str]:
    """Time all readers on one sample, print the table, and return what was missed."""
    times: dict[str, tuple[float, float]] = {}
    faults: dict[str, str] = {}
    calls: dict[str, Callable[[], Any]] = {
        name: lambda read=read: [read(paths) for paths in sample.reads] for name, read in readers.items()
    }
    calls["raw"] = raw_reader(sample)
    for repeat in range(repeats + 1):  # the first warms up, and its values are compared
        for name, call in calls.items():
            if name in faults:
                continue
            try:
                wall, cpu = time.perf_counter(), _cpu()
                found = call()
                wall, cpu = time.perf_counter() - wall, _cpu() - cpu
            except PeerError as error:
                faults[name] = str(error)
                continue
            if name == "gdcm":  # timed in its own process
                found, walls, cpus = zip(*found, strict=True)
                wall, cpu = sum(walls), sum(cpus)
            if repeat == 0:
                difference = _difference(found, sample) if name != "raw" else ""
                if difference:
                    faults[name] = difference
            else:
                old = times.get(name, (np.inf, np.inf))
                times[name] = min(old[0], wall), min(old[1], cpu)
    return _report(sample, times, faults, threads)


def _cpu() -> float:
    return time.process_time()


def _difference(found: Any, sample: Sample) -> str:
    for array, truth in zip(found, sample.truths, strict=True):
        if array.shape != truth.shape:
            return f"gives shape {array.shape}, not {truth.shape}"
        if not np.array_equal(array, truth):
            return f"differs by up to {np.abs(array.astype(np.float64) - truth).max():g}"
    return ""


def _report(sample: Sample, times: dict[str, tuple[float, float]], faults: dict[str, str], threads: int) -> list[str]:
    print(
        f"\n{sample.name}: {sample.count} of {'x'.join(map(str, sample.truths[0].shape[-2:]))}, {sample.bytes / sample.count / 1e3:.0f} kB each"
    )
    print(f"  {'reader':<16}{'wall ms':>10}{'CPU ms':>10}{'wall x':>9}{'CPU x':>9}")
    if "medio" in faults:
        return [f"{sample.name}: medio {faults['medio']}"]
    ours = times["medio"]
    for name, (wall, cpu) in sorted(times.items(), key=lambda item: item[1][0]):
        ratios = f"{wall / ours[0]:>9.2f}{cpu / ours[1]:>9.2f}"
        print(f"  {name:<16}{1e3 * wall / sample.count:>10.3f}{1e3 * cpu / sample.count:>10.3f}{ratios}")
    for name, fault in faults.items():
        print(f"  {name:<16}  {fault}")
    missed = []
    goal = GOALS.get(sample.name, {}).get(threads)
    monai = max(t / o for t, o in zip(times["MONAI"], ours, strict=True)) if "MONAI" in times else None
    if goal and monai is not None and monai < goal:
        missed.append(f"{sample.name}: MONAI takes {monai:.2f} times as long, {goal} asked for")
    least = RAW_GOALS.get(sample.name, RAW_GOAL)
    over = min(o / r for o, r in zip(ours, times["raw"], strict=True))
    if over > least:
        missed.append(f"{sample.name}: {over:.2f} times the raw decoder, {least} asked for")
    faster = [n for n, (wall, cpu) in times.items() if n not in ("medio", "raw") and wall < ours[0] and cpu < ours[1]]
    missed += [f"{sample.name}: {name} is faster" for name in faster]
    return missed


if __name__ == "__main__":
    raise SystemExit(main())
