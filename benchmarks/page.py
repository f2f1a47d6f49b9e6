"""``python -m benchmarks.page [--check]``: docs/performance.md and its plots from benchmarks/results/*.json."""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opentrans.files import read_json, write_text

ROOT = Path(__file__).parent.parent
RESULTS, PAGE, PICTURES = ROOT / "benchmarks/results", ROOT / "docs/performance.md", ROOT / "docs/images/performance"
TEXT = ROOT / "benchmarks/performance.md.in"
MEASURES = {"speed": "min_s", "memory": "peak_mib"}
CURVES = {"cpu_s": "CPU s", "peak_mib": "MiB"}
Record = dict[str, Any]


def render() -> str:
    """The page: the template's prose, each ``{{module}}`` replaced by the tables of ``results/{module}.json``."""
    page = TEXT.read_text(encoding="utf-8")
    for path in sorted(RESULTS.glob("*.json")):
        marker = "{{" + path.stem + "}}"
        if marker not in page:
            raise SystemExit(f"{TEXT.name}: no {marker}; say where the results of {path.name} belong")
        page = page.replace(marker, "\n".join(_module(path.stem, read_json(path))).strip())
    return re.sub(r"\{\{(\w+)\}\}", r"Not measured yet: benchmarks/bench_\1.py.", page)


def _module(name: str, records: dict[str, Record]) -> Iterator[str]:
    curves = {key: record for key, record in records.items() if record.get("curve")}
    for key, record in records.items():
        if key not in curves:
            yield from _table(record) if "sides" in record else _rows(record)
    for title in sorted({record["curve"][0] for record in curves.values()}):
        points = [record for record in curves.values() if record["curve"][0] == title]
        yield f"![{title}](images/performance/{_picture(name, title)})\n"
        yield from _curve_table(title, sorted(points, key=lambda record: float(record["curve"][1])))


def _table(record: Record) -> Iterator[str]:
    """Every side of one comparison; ratios are the side's figure over ours."""
    sides, ours = record["sides"], record["sides"][record["ours"]]
    memory = "peak_mib" in ours
    yield f"**{record['title']}** ({record['threads']} thread{'s' * (record['threads'] > 1)})\n"
    yield "| | seconds | against ours | CPU seconds | against ours |" + (" peak MiB | against ours |" if memory else "")
    yield "|---|---:|---:|---:|---:|" + ("---:|---:|" if memory else "")
    for name in [record["ours"], *record["peers"], *record.get("also", [])]:
        side, line = sides[name], record["what"][name].splitlines()[0]
        cells = [line, _figure(side["min_s"]), _times(side["min_s"] / ours["min_s"]),
                 _figure(side["cpu_s"]), _times(side["cpu_s"] / ours["cpu_s"])]  # fmt: skip
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
    versions = ", ".join(f"{name} {value}" for name, value in machine["versions"].items() if name in _named(record))
    yield (
        f"<sub>{record['date']}; {machine['cpu']}, {machine['cores']} cores; {versions}; load {record['load']}"
        f"{' (shared machine)' if record['load'] > machine['cores'] else ''}.</sub>\n"
    )


def _named(record: Record) -> tuple[str, ...]:
    return ("torch", *record.get("packages", ()))


def _verdict(record: Record, kind: str, goal: float) -> str:
    sides, measure = record["sides"], MEASURES[kind]
    if kind == "speed" and record["threads"] == 1:
        measure = "cpu_s"  # what an idle machine's clock would show
    ratio = min(sides[peer][measure] for peer in record["peers"]) / sides[record["ours"]][measure]
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
    memory = "peak_mib" in points[0]["sides"][sides[0]]
    names = [points[0]["what"][side].partition(":")[0].splitlines()[0] for side in sides]
    yield f"| {title} | " + " | ".join(f"{n}, CPU s" for n in names) + (
        " | " + " | ".join(f"{n}, MiB" for n in names) if memory else "") + " |"  # fmt: skip
    yield "|" + "---:|" * (1 + len(sides) * (1 + memory))
    for point in points:
        cells = [_exact(point["curve"][1]), *(_figure(point["sides"][side]["cpu_s"]) for side in sides)]
        cells += [f"{point['sides'][side]['peak_mib']:.0f}" for side in sides] if memory else []
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield from _notes({**points[-1], "goal": {}})


def _picture(module: str, title: str) -> str:
    return f"{module}_{title.replace(' ', '_').replace(',', '')}.svg"


def draw() -> Iterator[tuple[Path, str]]:
    """Every plot as (path, SVG), equal for equal results."""
    import io

    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "opentrans", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    for path in sorted(RESULTS.glob("*.json")):
        curves = [record for record in read_json(path).values() if record.get("curve")]
        for title in sorted({record["curve"][0] for record in curves}):
            points = sorted((r for r in curves if r["curve"][0] == title), key=lambda r: float(r["curve"][1]))
            panels = [kind for kind in CURVES if kind in points[0]["sides"][points[0]["ours"]]]
            figure, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 2.6), squeeze=False)
            for axis, kind in zip(axes[0], panels, strict=True):
                for side in [points[0]["ours"], *points[0]["peers"]]:
                    x, y = [p["curve"][1] for p in points], [max(p["sides"][side][kind], 1e-6) for p in points]
                    axis.plot(x, y, marker="o", label=points[0]["what"][side].partition(":")[0].splitlines()[0])
                scale = "linear" if max(x) <= 1 else "log"
                axis.set(xscale=scale, yscale="log", xlabel=title, ylabel=CURVES[kind])
                axis.grid(alpha=0.3)
            axes[0][0].legend(fontsize=7)
            figure.tight_layout()
            stream = io.StringIO()
            figure.savefig(stream, format="svg", metadata={"Date": None})
            plt.close(figure)
            yield PICTURES / _picture(path.stem, title), stream.getvalue()


def _figure(value: float) -> str:
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
    for path, picture in draw():
        write_text(path, picture)


if __name__ == "__main__":
    main()
