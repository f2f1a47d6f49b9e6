"""``python -m benchmarks.page [--check]``: docs/performance.md and its plots from benchmarks/results/*.json."""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from opentrans.system.files import read_json, write_text

ROOT = Path(__file__).parent.parent
RESULTS, PAGE, IMAGES = ROOT / "benchmarks/results", ROOT / "docs/performance.md", ROOT / "docs/images/performance"
TEXT = ROOT / "benchmarks/performance.md.in"
MEASURES = {"speed": "min_s", "memory": "peak_mib"}
CURVES = {"cpu_s": "CPU s", "peak_mib": "MiB"}
GROWTH_TOLERANCE = 0.1  # of an exponent: caches make small sizes cheaper
SMALLEST = {"cpu_s": 1e-4, "peak_mib": 1.0}  # what can be told from nothing
Record = dict[str, Any]


def render() -> str:
    """The page: the template's prose, each ``{{module}}`` replaced by the tables of ``results/{module}.json``."""
    results = {path.stem: read_json(path) for path in sorted(RESULTS.glob("*.json"))}
    page = TEXT.read_text(encoding="utf-8").replace("{{goals}}", "\n".join(_goals(results.values())))
    for name, records in results.items():
        marker = "{{" + name + "}}"
        if marker not in page:
            raise SystemExit(f"{TEXT.name}: no {marker}; say where the results of {name}.json belong")
        page = page.replace(marker, "\n".join(_module(name, records)).strip())
    return re.sub(r"\{\{(\w+)\}\}", r"Not measured yet: benchmarks/bench_\1.py.", page)


def _module(name: str, records: dict[str, Record]) -> Iterator[str]:
    curves = {key: record for key, record in records.items() if record.get("curve")}
    for key, record in records.items():
        if key not in curves:
            yield from _table(record) if "sides" in record else _rows(record)
    for title, points in _curves(curves.values()).items():
        yield f"**{points[0]['title']}**\n"
        yield f"![{title}](images/performance/{_image(name, title)})\n"
        yield from _curve_table(title, points)


def _curves(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The points of each plot, from left to right."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.get("curve"):
            found.setdefault(record["curve"][0], []).append(record)
    return {title: sorted(found[title], key=lambda record: float(record["curve"][1])) for title in sorted(found)}


def _goals(modules: Iterable[dict[str, Record]]) -> Iterator[str]:
    """Every goal of the records, whether it is reached, and its value."""
    rows = [row for records in modules for row in _list_goals(records)]
    reached = sum(row["reached"] for row in rows)
    yield f"{reached} of {len(rows)} goals reached.\n"
    yield "| goal | reached | value | load |"
    yield "|---|---|---|---|"
    for row in rows:
        yield f"| {row['goal']} | {'yes' if row['reached'] else '**no**'} | {row['value']} | {row['load']} |"


def _list_goals(records: dict[str, Record]) -> Iterator[Record]:
    for record in records.values():
        for kind, goal in sorted(record.get("goal", {}).items()):
            ratio = _ratio(record, kind)
            text = f"{record['title']}, {_threads(record)}: {kind} at least {goal:g} times the strongest peer's"
            yield {"goal": text, "reached": ratio >= goal, "value": _times(ratio), "load": _load(record)}
        yield from (goal | {"load": _load(record)} for goal in record.get("goals", []))

    for title, points in _curves(records.values()).items():
        for kind, (slope, _) in _growth(points, points[0]["ours"]).items():
            work = points[0].get("work", 1)
            what = {"cpu_s": "time", "peak_mib": "memory"}[kind]
            text = f"{what.capitalize()} against {title}: grows no faster than the work (exponent {work:g})"
            reached = slope <= work + GROWTH_TOLERANCE
            yield {"goal": text, "reached": reached, "value": f"exponent {slope:.2f}", "load": _load(points[-1])}


def _growth(points: Sequence[Record], side: str) -> dict[str, tuple[float, float]]:
    """Of time and memory: the slope of its logarithm against that of x (least squares), and the steepest step's."""
    if len(points) < 3:
        return {}
    found = {}
    for kind in _panels(points):
        x = np.log([float(point["curve"][1]) for point in points])
        y = np.log([max(point["sides"][side][kind], SMALLEST[kind]) for point in points])
        found[kind] = float(np.polyfit(x, y, 1)[0]), float((np.diff(y) / np.diff(x)).max())
    return found


def _panels(points: Sequence[Record]) -> list[str]:
    """What every point has measured."""
    return [kind for kind in CURVES if all(kind in point["sides"][point["ours"]] for point in points)]


def _threads(record: Record) -> str:
    kind = "processes" if record.get("processes", 1) > 1 else "threads"
    return f"{record[kind]} {kind if record[kind] > 1 else 'thread'}"


def _load(record: Record) -> str:
    """The load, and whether others had their share of the machine; the benchmark itself keeps all cores busy."""
    return f"{record['load']}{' (shared machine)' if record['load'] > record['machine']['cores'] + 0.5 else ''}"


def _table(record: Record) -> Iterator[str]:
    """Every side of one comparison; ratios are the side's number over ours."""
    sides, ours = record["sides"], record["sides"][record["ours"]]
    memory = "peak_mib" in ours
    yield f"**{record['title']}** ({_threads(record)})\n"
    yield "| | seconds | against ours | CPU seconds | against ours |" + (" peak MiB | against ours |" if memory else "")
    yield "|---|---:|---:|---:|---:|" + ("---:|---:|" if memory else "")

    for name in [record["ours"], *record["peers"], *record.get("also", [])]:
        side, line = sides[name], record["what"][name].splitlines()[0]
        cells = [line, _number(side["min_s"]), _times(side["min_s"] / ours["min_s"]),
                 _number(side["cpu_s"]), _times(side["cpu_s"] / ours["cpu_s"])]  # fmt: skip

        if memory:
            cells += [f"{side['peak_mib']:.0f}", _times(side["peak_mib"] / max(ours["peak_mib"], 0.1))]
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield from _notes(record)


def _notes(record: Record) -> Iterator[str]:
    if record.get("goal") and "sides" in record:
        yield "Goal: " + "; ".join(_verdict(record, kind, goal) for kind, goal in record["goal"].items()) + ".\n"

    facts = {**record.get("agreement", {}), **record.get("facts", {})}
    if facts:
        yield "; ".join(f"{name}: {_exact(value)}" for name, value in facts.items()) + ".\n"

    machine = record["machine"]
    rounds = f"{record['rounds']} rounds; " if "rounds" in record else ""
    versions = ", ".join(f"{name} {value}" for name, value in machine["versions"].items() if name in _named(record))
    yield (
        f"<sub>{record['date']}; {machine['cpu']}, {machine['cores']} cores; {versions}; "
        f"{rounds}load {_load(record)}.</sub>\n"
    )


def _named(record: Record) -> tuple[str, ...]:
    return ("torch", *record.get("packages", ()))


def _ratio(record: Record, kind: str) -> float:
    """The strongest peer's number over ours."""
    sides, measure = record["sides"], MEASURES[kind]
    if kind == "speed" and record["threads"] == record.get("processes", 1) == 1:
        measure = "cpu_s"  # what an idle machine's clock would show
    return float(min(sides[peer][measure] for peer in record["peers"]) / max(sides[record["ours"]][measure], 1e-9))


def _verdict(record: Record, kind: str, goal: float) -> str:
    ratio = _ratio(record, kind)
    return f"{kind} at least {goal:g} times the strongest peer's, {'reached' if ratio >= goal else 'NOT reached'}" \
        f" ({ratio:.2f})"  # fmt: skip


def _rows(record: Record) -> Iterator[str]:
    """A record that is a table already: a list of rows with equal keys."""
    rows = [{column: row[column] for column in record["columns"]} for row in record["rows"]]
    yield f"**{record['title']}**\n"
    yield "| " + " | ".join(rows[0]) + " |"
    yield "|" + "---|" * len(rows[0])
    yield from ("| " + " | ".join(_exact(value) for value in row.values()) + " |" for row in rows)
    yield ""
    yield from _notes(record)


def _curve_table(title: str, points: list[Record]) -> Iterator[str]:
    sides = [points[0]["ours"], *points[0]["peers"]]
    names = {side: points[0]["what"][side].partition(":")[0].splitlines()[0] for side in sides}
    columns = [(kind, side) for kind in _panels(points) for side in sides]
    yield f"| {title} | " + " | ".join(f"{names[side]}, {CURVES[kind]}" for kind, side in columns) + " |"
    yield "|" + "---:|" * (1 + len(columns))
    for point in points:
        numbers = [point["sides"][side][kind] for kind, side in columns]
        yield f"| {_exact(point['curve'][1])} | " + " | ".join(_number(number) for number in numbers) + " |"

    growth = {side: _growth(points, side) for side in sides}
    for index, row in enumerate(("exponent", "steepest step") if growth[sides[0]] else ()):
        cells = [f"{growth[side][kind][index]:.2f}" for kind, side in columns]
        yield f"| *{row}* | " + " | ".join(cells) + " |"
    yield ""
    yield from _notes({**points[-1], "goal": {}})


def _image(module: str, title: str) -> str:
    return f"{module}_{title.replace(' ', '_').replace(',', '')}.svg"


def draw() -> Iterator[tuple[Path, str]]:
    """Every plot as (path, SVG), equal for equal results."""
    import io

    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "opentrans", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    for path in sorted(RESULTS.glob("*.json")):
        for title, points in _curves(read_json(path).values()).items():
            panels = _panels(points)
            figure, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 2.6), squeeze=False)
            for axis, kind in zip(axes[0], panels, strict=True):
                x = [point["curve"][1] for point in points]
                for side in [points[0]["ours"], *points[0]["peers"]]:
                    y = [max(point["sides"][side][kind], SMALLEST[kind]) for point in points]
                    axis.plot(x, y, marker="o", label=points[0]["what"][side].partition(":")[0].splitlines()[0])
                work, first = points[0].get("work", 1), points[0]["sides"][points[0]["ours"]][kind]
                line = [max(first, SMALLEST[kind]) * (value / x[0]) ** work for value in x]
                axis.plot(x, line, color="grey", linestyle=":", label=f"slope {work:g}")
                axis.set(xscale="log", yscale="log", xlabel=title, ylabel=CURVES[kind])
                axis.grid(alpha=0.3)
            axes[0][0].legend(fontsize=7)
            figure.tight_layout()
            stream = io.StringIO()
            figure.savefig(stream, format="svg", metadata={"Date": None})
            plt.close(figure)
            yield IMAGES / _image(path.stem, title), stream.getvalue()


def _number(value: float) -> str:
    return f"{value:.3g}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x"


def _exact(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Write the page and its plots, or compare them with what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the page is not what the results give")

    page = render()
    if parser.parse_args().check:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
            sys.exit("docs/performance.md is not what benchmarks/results gives: run python -m benchmarks.page")
        return

    write_text(PAGE, page)
    images = dict(draw())
    for path in set(IMAGES.glob("*.svg")) - images.keys():
        path.unlink()
    for path, image in images.items():
        write_text(path, image)


if __name__ == "__main__":
    main()
