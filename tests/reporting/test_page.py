import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from opentrans.errors import UserError
from opentrans.reporting import page
from opentrans.reporting.cells import Cell, Column, Table, Tally
from opentrans.reporting.jobs import RuleCost, format_time, read_costs_of_jobs
from opentrans.reporting.render import to_html
from opentrans.reporting.tables import read_captions
from opentrans.runs.find import name_config
from opentrans.runs.machine import describe_commit, describe_hardware, describe_versions

SVG = '<svg xmlns="http://www.w3.org/2000/svg"/>'


class Page(HTMLParser):
    """The words, the cells and the addresses of a page; void and unclosed elements are told apart."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.tables, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "action", "poster")]
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += f"{data.strip()} "


@pytest.fixture
def files(tmp_path):
    """Two tables, a claims table, a figure, captions, and benchmark files of three jobs."""
    quality = [Cell(36.0, 1.0, 42.5, "%"), Cell(None, None, 46.0, "%")]
    flops = [Cell(45.8e6, None, 173.3e9), Cell(80e6)]
    table = Table(
        [
            Column("Method", ["Ours & <co>", "Dense"]),
            Column("coco", quality, ".1f", ".1f"),
            Column("FLOPs", flops, ".4g", ".1f", "G"),
        ]
    )
    (tmp_path / "table10.html").write_text(to_html(table, "", "table10"))
    (tmp_path / "table2.html").write_text(to_html(table, "What a reader must know.", "table2"))
    claims = Table([Column("claim", ["Ours beats random"]), Column("verdict", ["holds"])])
    (tmp_path / "claims.html").write_text(to_html(claims, "", "claims"))
    (tmp_path / "figure5.svg").write_text(SVG)
    (tmp_path / "figure5.rst").write_text("Some\nimages.\n")
    header = "s\th:m:s\tmax_rss\tmax_vms\tcpu_time\n"
    (tmp_path / "jobs/train").mkdir(parents=True)
    (tmp_path / "jobs/train/a.tsv").write_text(header + "10\t0:00:10\t500\t1\t20\n")
    (tmp_path / "jobs/train/b.tsv").write_text(header + "30\t0:00:30\t700\t1\t3590\n30\t-\tNA\tNA\t10\n")
    (tmp_path / "jobs/make_tables.tsv").write_text(header + "1\t0:00:01\t90\t1\t-\n")
    (tmp_path / "jobs/make_report.tsv").write_text(header + "99\t0:01:39\t90\t1\t99\n")
    return tmp_path


@pytest.fixture
def make_page(files, config):
    def make(tables=("table10.html", "table2.html"), figures=("figure5.svg",), claims="claims.html", settings=config):
        captions = read_captions([files / "figure5.rst"])
        row = {"target": "han", "subnetwork": "ours", "freeze": "none", "seed": 0, "benchmark": "coco"}
        return page.render_report(
            config=settings,
            results=pd.DataFrame([row, row | {"benchmark": "pc59"}]),
            tables=[page.read_section(path) for path in page.sort_by_number([files / t for t in tables])],
            figures=[page.read_figure(files / name, captions) for name in figures],
            claims=page.read_section(files / claims) if claims else None,
            costs=read_costs_of_jobs([files / "jobs"], without=["make_report"]),
        )

    return make


def test_the_page_is_well_formed_and_loads_nothing(make_page):
    text = make_page()
    parsed = Page(text)
    assert not parsed.open
    assert all(address.startswith(("#", "data:image/")) for address in parsed.addresses)
    assert not re.search(r"@import|url\(|<link|https?://(?!www\.w3\.org)", text)


def test_a_value_and_the_papers_share_a_cell(make_page):
    claims, table2, *_ = Page(make_page()).tables
    assert claims[1] == ["Ours beats random ", "holds "]
    assert table2[0] == ["Method ", "coco (%) paper ", "FLOPs (M) paper (G) "]
    assert table2[1] == ["Ours & <co> ", "36.0 ± 1.0 42.5 ", "45.8 173.3 "]
    assert table2[2] == ["Dense ", "– 46.0 ", "80 – "]


def test_the_page_shows_captions_settings_versions_cost_and_commands(make_page, config):
    words = " ".join(" ".join(Page(make_page()).words).split())
    for expected in (
        "What a reader must know.", "Some images.", "prune_share: 0.1", describe_commit().split()[0],
        describe_versions()["torch"], f"--configfile results/mini/{name_config(config)[0]} -- paper",
        "1.01 CPU hours", "in 4 jobs", "1 min 11 s", "coco, pc59", "cannot be compared with the paper",
    ):  # fmt: skip
        assert expected in words, expected
    paper = make_page(settings=config.model_copy(update={"profile": "paper"}))
    assert "cannot be compared" not in paper


def test_tables_are_in_the_papers_order_and_missing_parts_leave_no_heading(make_page):
    text = make_page()
    assert text.index('id="table2"') < text.index('id="table10"')
    bare = make_page(tables=(), figures=(), claims=None)
    assert "No table was made." in bare
    assert 'id="figures"' not in bare
    assert "claims hold" not in bare


def test_the_forest_plot_is_the_first_image_and_stands_beside_the_claims(make_page, files):
    (files / "forest.svg").write_text(SVG)
    text = make_page(figures=("figure5.svg", "forest.svg"))
    ids = [text.index(f'id="{name}"') for name in ("forest", "claims", "table2", "figures", "figure5")]
    assert ids == sorted(ids)
    assert text.count("<img") == 2
    without = make_page(figures=("forest.svg",), claims=None)
    assert without.index('id="figures"') < without.index('id="forest"')


def test_the_same_results_are_the_same_page(make_page):
    assert make_page() == make_page()


def test_cells_are_sorted_by_their_number_and_text_by_its_letters():
    cells = [Cell(-36.5, 1.0, 1.0, "%"), Cell()]
    pairs = [Tally(20, 21), Tally(0, 0)]
    html = to_html(Table([Column("Method", ["B", "a"]), Column("x", cells, ".1f"), Column("in", pairs)]), "", "table1")
    assert re.findall('data-order="([^"]*)"', html) == ["b", "-36.5", "20", "a", "", ""]
    assert re.findall("<th [^>]*>", html) == ['<th scope="col">', *2 * ['<th scope="col" class="number">']]


def test_costs_are_summed_by_rule_with_the_dearest_first(files):
    assert read_costs_of_jobs([files / "jobs"], without=["make_report"]) == [
        RuleCost("train", 3, 70, 3620, 700),
        RuleCost("make_tables", 1, 1, 0, 90),
    ]


def test_damaged_benchmark_files_are_named(files):
    (files / "jobs/broken.tsv").write_text("s\tmax_rss\n")
    with pytest.raises(UserError, match=r"broken\.tsv: column cpu_time is missing"):
        read_costs_of_jobs([files / "jobs"])
    with pytest.raises(UserError, match="no such folder"):
        read_costs_of_jobs([files / "absent"])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (3600, "1 h 00 min"), (90061, "25 h 01 min")],
)
def test_times_are_said_as_a_person_says_them(seconds, text):
    assert format_time(seconds) == text


def test_titles_follow_from_names(files):
    titles = {"table1_mean": "Table 1: mean", "miou_density": "mIoU density", "density_layers": "Density layers"}
    for name, title in titles.items():
        (files / f"{name}.svg").write_text(SVG)
        assert page.read_figure(files / f"{name}.svg", {}).title == title


def test_wrong_files_of_a_report_are_named(files):
    with pytest.raises(UserError, match=r"absent\.html: no such file"):
        page.read_section(files / "absent.html")
    (files / "bytes.html").write_bytes(b"\xff")
    with pytest.raises(UserError, match="not UTF-8 text"):
        page.read_section(files / "bytes.html")
    with pytest.raises(UserError, match="neither SVG nor PNG"):
        page.read_figure(files / "table2.html", {})
    with pytest.raises(UserError, match=r"absent\.svg: no such file"):
        page.read_figure(files / "absent.svg", {})


def test_machine_and_commit_are_described_without_names_of_people(tmp_path):
    assert set(describe_hardware()) >= {"cores", "system"}
    assert describe_versions()["Python"].startswith("3.")
    assert describe_commit(tmp_path).startswith("unknown")
