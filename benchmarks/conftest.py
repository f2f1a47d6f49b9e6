"""The fixture `versus`: our way and its peers on the same inputs, in turns."""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import describe_machine, get_load
from opentrans.system.files import read_json, write_json

RESULTS = Path(__file__).parent / "results"
Side = Callable[..., Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--rounds``, ``--seconds``: turns of each comparison; ``--device``: where the GPU table is measured."""
    parser.addoption("--rounds", type=int, default=5, help="turns of each comparison, at most")
    parser.addoption("--seconds", type=float, default=15, help="time for turns of each; two are made anyway")
    parser.addoption("--device", default="cpu", help="device of bench_gpu.py")


class Recorder:
    """Collects the comparisons of one module and merges them into ``results/{module}.json``."""

    def __init__(self, module: str) -> None:
        self.path = RESULTS / f"{module}.json"
        self.records: dict[str, dict[str, Any]] = {}

    def add(self, name: str, record: dict[str, Any]) -> None:
        """Keep a record under its name; write at once, so that an interrupted session loses nothing."""
        stamp = {"date": date.today().isoformat(), "load": get_load(), "machine": describe_machine()}
        columns = {"columns": list(record["rows"][0])} if "rows" in record else {}  # JSON is written with sorted keys
        self.records[name] = {**record, **columns, **stamp}
        before = read_json(self.path) if self.path.exists() else {}
        write_json(self.path, {**before, **self.records})


@pytest.fixture(scope="module")
def recorder(request: pytest.FixtureRequest) -> Recorder:
    """The module's results file."""
    return Recorder(Path(request.module.__file__).stem.removeprefix("bench_"))


@pytest.fixture
def record(recorder: Recorder) -> Callable[[str, dict[str, Any]], None]:
    """Keep something that is no comparison: ``record(name, {...})``, with "title" and "rows" for the page.

    "goals" lists what was to be reached: ``{"goal": text, "reached": bool, "value": text}``.
    """
    return recorder.add


@pytest.fixture
def versus(benchmark: Any, recorder: Recorder, request: pytest.FixtureRequest) -> Iterator[Callable[..., dict]]:
    """Compare `ours` with `peers`, functions of this module that take what `prepare(**setting)` returns.

    Each round runs every side once, in changing order, so that a busy machine slows all alike; ratios are of the
    fastest rounds. With `memory`, each side runs once more in a process of its own for its peak above the inputs.
    `same(ours, theirs)` returns measures of agreement, which it has asserted. `goal` names what is to be reached:
    ``{"speed": 2.0, "memory": 5.0}``, ratios to the strongest of `peers`; `also` are measured beside them.
    At least `least` rounds are made, whatever they take: small differences need more.
    `curve` is ``(name, x)`` for a point of a plot; the work grows with the power `work` of x.
    With more `processes` than one (or `threads`) the clock decides, else the processor time: what an idle machine's
    clock would show.
    """
    import torch

    threads = torch.get_num_threads()

    def compare(
        name: str,
        title: str,
        prepare: Side,
        ours: Side,
        peers: Sequence[Side],
        setting: Mapping[str, Any],
        same: Callable[[Any, Any], Mapping[str, float]] | None = None,
        goal: Mapping[str, float] | None = None,
        curve: tuple[str, float] | None = None,
        work: float = 1,
        memory: bool = False,
        threads: int = 2,
        processes: int = 1,
        inference: bool = True,
        facts: Mapping[str, Any] | None = None,
        also: Sequence[Side] = (),
        least: int = 2,
    ) -> dict[str, Any]:
        sides = [ours, *peers, *also]
        torch.set_num_threads(threads)
        inputs = prepare(**setting)
        seconds: dict[str, list[float]] = {side.__name__: [] for side in sides}
        cpu: dict[str, list[float]] = {side.__name__: [] for side in sides}
        agreement: dict[str, float] = {}
        with torch.inference_mode(inference):
            start = time.perf_counter()
            results = [side(*inputs) for side in sides]
            turns = int(request.config.getoption("--seconds") / (time.perf_counter() - start))
            rounds = max(least, min(request.config.getoption("--rounds"), turns))
            if same is not None:
                agreement = {f"{k} ({p.__name__})": v for p, r in zip([*peers, *also], results[1:], strict=True)
                             for k, v in same(results[0], r).items()}  # fmt: skip
            del results

            def turn() -> None:
                sides.append(sides.pop(0))
                for side in sides:
                    start, busy = time.perf_counter(), _get_processor_time()
                    side(*inputs)
                    cpu[side.__name__].append(_get_processor_time() - busy)
                    seconds[side.__name__].append(time.perf_counter() - start)

            benchmark.pedantic(turn, rounds=rounds)
        del inputs
        found: dict[str, dict[str, float]] = {
            side: {"min_s": min(values), "median_s": statistics.median(values), "cpu_s": min(cpu[side])}
            for side, values in seconds.items()
        }
        if memory:
            command = {"prepare": prepare.__name__, "setting": dict(setting), "threads": threads,
                       "inference": inference}  # fmt: skip
            for side, peak in _get_peaks(request.module.__name__, list(found), command).items():
                found[side]["peak_mib"] = peak / 2**20
        entry = {
            "title": title, "ours": ours.__name__, "peers": [peer.__name__ for peer in peers],
            "also": [side.__name__ for side in also], "sides": found,
            "what": {side.__name__: (side.__doc__ or "").strip() for side in sides}, "setting": dict(setting),
            "threads": threads, "processes": processes, "rounds": rounds, "agreement": agreement,
            "goal": dict(goal or {}), "curve": list(curve or ()), "work": work, "facts": dict(facts or {}),
        }  # fmt: skip
        recorder.add(name, entry)
        benchmark.extra_info.update(entry)
        return entry

    yield compare
    torch.set_num_threads(threads)


def _get_processor_time() -> float:
    """Of this process and its ended children, in seconds."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(found.ru_utime + found.ru_stime for found in used)


def _get_peaks(module: str, sides: Sequence[str], request: Mapping[str, Any]) -> dict[str, int]:
    command = [sys.executable, "-m", "benchmarks.peak", module, *sides]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found
