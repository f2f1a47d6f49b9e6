from typing import get_args

import matplotlib
import pytest

from opentrans.config import Benchmark
from opentrans.reporting.figures.style import BENCHMARK_TITLES, SPARE, STYLES, draw_notice, get_styles, sort_targets
from opentrans.reporting.figures.table1 import plot_mean
from opentrans.reporting.figures.write import write_figures


def test_equal_data_is_equal_bytes_and_other_data_is_not(tmp_path, results):
    for folder, data in (("a", results), ("b", results), ("c", results.assign(miou=results["miou"] / 2))):
        write_figures(tmp_path / folder, {"mean": plot_mean(data)})
    for name in ("mean.svg", "mean.png"):
        first, same, other = ((tmp_path / folder / name).read_bytes() for folder in "abc")
        assert first == same
        assert first != other


def test_files_hold_no_date_and_no_version(tmp_path, results):
    write_figures(tmp_path, {"mean": plot_mean(results)})
    assert b"<dc:date>" not in (tmp_path / "mean.svg").read_bytes()
    assert matplotlib.__version__.encode() not in (tmp_path / "mean.png").read_bytes()


def test_drawing_leaves_the_global_settings_alone(results):
    before = dict(matplotlib.rcParams)
    plot_mean(results)
    draw_notice("a reason.")
    assert dict(matplotlib.rcParams) == before


def test_no_two_kinds_of_line_look_alike():
    looks = [(style.line, style.marker, style.fill) for style in (*STYLES.values(), *SPARE)]
    assert len(set(looks)) == len(looks)
    assert len({style.hatch for style in (*STYLES.values(), *SPARE)}) == len(looks)


def test_known_subnetworks_keep_their_style_and_others_get_spare_ones():
    styles = get_styles(["vgkd", "ours", "tgkd", "dense"])
    assert list(styles) == ["dense", "ours", "vgkd", "tgkd"]
    assert styles["ours"] == STYLES["ours"]
    assert [styles["vgkd"], styles["tgkd"]] == list(SPARE[:2])
    assert sort_targets({"other", "fcclip", "han"}) == ["han", "fcclip", "other"]


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_notice_is_a_figure_too(tmp_path, kind):
    write_figures(tmp_path, {"empty": draw_notice("a reason.")})
    assert (tmp_path / f"empty.{kind}").stat().st_size > 500


def test_every_benchmark_has_a_title():
    assert tuple(BENCHMARK_TITLES) == get_args(Benchmark)
