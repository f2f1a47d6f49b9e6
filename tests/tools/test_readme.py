import shutil
from pathlib import Path

import pytest

from opentrans.errors import UserError
from opentrans.system.files import write_json
from tools import readme
from tools.call import call
from tools.readme import ShownResults, find_drift, find_shown, render_page, take_record, update_pages

ROOT = Path(__file__).parents[2]
PAGE = """# Title

![Means](docs/images/table1_mean.svg) ![Rules](docs/images/rulegraph.svg)

<!-- begin table1 -->
<!-- end table1 -->
Text.
<!-- begin claims -->
stale words
<!-- end claims -->
<!-- begin run -->
<!-- end run -->
"""


@pytest.fixture
def project(tmp_path):
    """A page that shows two tables, a figure of the run and an image that is none."""
    results = tmp_path / "results"
    for folder in ("tables", "figures", "benchmarks"):
        (results / folder).mkdir(parents=True)
    (results / "tables/table1.csv").write_text("Method,coco (%)\nOurs,36.0 ± 1.0\nDense,\n")
    (results / "tables/table1.md").write_text("The caption.\n\n| Method |\n")
    (results / "tables/table2.csv").write_text("Method\n")
    (results / "claims.csv").write_text("claim,verdict\nOurs beats random,holds\n")
    (results / "figures/table1_mean.svg").write_text("<svg/>")
    (results / "benchmarks/train.tsv").write_text("s\tmax_rss\tcpu_time\n5\t1\t90\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/rulegraph.svg").write_text("<svg/>")
    (tmp_path / "README.md").write_text(PAGE)
    return tmp_path


def renew(project):
    pages, record, images = [project / "README.md"], project / "record", project / "images"
    take_record(project / "results", pages, record, images)
    update_pages(pages, record)


def check(project, results=True):
    given = project / "results" if results else None
    return find_drift([project / "README.md"], project / "record", project / "images", given)


def test_blocks_are_rendered_from_the_results(project):
    renew(project)
    text = (project / "README.md").read_text()
    assert "<!-- begin table1 -->\nThe caption.\n\n| Method   | coco (%)   |" in text
    assert "| Ours     | 36.0 ± 1.0 |" in text
    assert "| Ours beats random | holds     |" in text
    assert "stale words" not in text
    assert "The run behind these values: 1 jobs, 1 min 30 s of CPU time (" in text
    assert {path.name for path in (project / "record").iterdir()} == {"record.json", "table1.csv", "claims.csv"}
    assert (project / "images/table1_mean.svg").read_text() == "<svg/>"


def test_a_block_may_show_a_table_of_another_profile(project):
    folder = project / "longer/tables"
    folder.mkdir(parents=True)
    (folder / "table8.csv").write_text("Method,coco (%)\nLonger,41.5\n")
    with (project / "README.md").open("a") as stream:
        stream.write("<!-- begin longer_table8 -->\n<!-- end longer_table8 -->\n<!-- begin longer_table9 -->\n")
        stream.write("<!-- end longer_table9 -->\n")
    with pytest.raises(UserError, match=r"longer/tables/table9\.csv: no such file"):
        renew(project)
    (folder / "table9.csv").write_text("Method\n")
    renew(project)
    assert "| Longer   | 41.5       |" in (project / "README.md").read_text()
    assert check(project) == []
    (folder / "table8.csv").write_text("Method,coco (%)\nLonger,41.6\n")
    assert len(check(project)) == 1


def test_nothing_has_drifted_after_a_renewal(project):
    renew(project)
    assert check(project) == check(project, results=False) == []
    before = (project / "README.md").stat().st_mtime_ns
    update_pages([project / "README.md"], project / "record")
    assert (project / "README.md").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("path", "old", "new", "needs_results"),
    [
        ("README.md", "36.0 ± 1.0", "39.0 ± 1.0", False),
        ("README.md", "The caption.", "A better caption.", False),
        ("README.md", "1 min 30 s", "1 min 10 s", False),
        ("record/table1.csv", "36.0", "39.0", False),
        ("images/table1_mean.svg", "<svg/>", "<svg></svg>", False),
        ("results/tables/table1.csv", "36.0", "39.0", True),
        ("results/tables/table1.md", "caption", "subject", True),
        ("results/claims.csv", "holds", "does not hold", True),
        ("results/figures/table1_mean.svg", "<svg/>", "<svg></svg>", True),
    ],
)
def test_drift_is_found_wherever_it_happens(project, path, old, new, needs_results):
    renew(project)
    text = (project / path).read_text()
    assert old in text
    (project / path).write_text(text.replace(old, new))
    assert check(project)
    assert bool(check(project, results=False)) != needs_results


def test_a_missing_image_is_drift(project):
    renew(project)
    (project / "images/rulegraph.svg").unlink()
    (problem,) = check(project, results=False)
    assert "rulegraph" in problem


def test_wrong_pages_and_records_are_named(project):
    with pytest.raises(UserError, match=r"record\.json: no such file"):
        check(project)
    renew(project)
    (project / "README.md").write_text("<!-- begin table1 -->\n")
    with pytest.raises(UserError, match="the block table1 has only one of its two marks"):
        check(project)
    (project / "README.md").write_text("<!-- begin table7 -->\n<!-- end table7 -->")
    with pytest.raises(UserError, match=r"table7\.csv: the record has no such table"):
        check(project)
    with pytest.raises(UserError, match="no such file, but a page shows table7"):
        renew(project)
    write_json(project / "record/record.json", {"captions": {}})
    with pytest.raises(UserError, match="does not hold the fields of a record"):
        check(project)


def test_the_tool_fails_with_one_line_where_something_drifted(project, capsys, monkeypatch):
    renew(project)
    page = project / "README.md"

    def run(*words):
        places = ["--pages", page, "--record", project / "record", "--images", project / "images"]
        monkeypatch.setattr("sys.argv", ["readme", *map(str, places), *words])
        call(readme.main)

    run("--check")
    page.write_text(page.read_text().replace("36.0", "63.0"))
    with pytest.raises(SystemExit) as caught:
        run("--check")
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "make readme" in error
    assert error.count("\n") == 1
    assert "63.0" in page.read_text()
    run()
    assert "63.0" not in page.read_text()
    run("--results", str(project / "results"))


def test_the_repositorys_readme_shows_what_its_record_holds():
    pages = [ROOT / page for page in readme.PAGES]
    blocks, images = find_shown(pages)
    assert {"table1", "run"} <= set(blocks)
    assert {"table1_mean", "figure1"} <= set(images)
    assert find_drift(pages, ROOT / "docs/results", ROOT / "docs/images") == []


def test_a_number_that_somebody_types_into_the_readme_is_found(tmp_path):
    page = tmp_path / "README.md"
    shutil.copy(ROOT / "README.md", page)
    record = ShownResults.read(ROOT / "docs/results")
    right = render_page(page, record, ROOT / "docs/results")
    row = next(line for line in right.splitlines() if line.startswith("| Ours (Han et al.)"))
    page.write_text(right.replace(row, row.replace(row.split("|")[2].strip(), "99.9")))
    assert page.read_text() != right == render_page(page, record, ROOT / "docs/results")
