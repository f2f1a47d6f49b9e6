"""Folders may be called anything: a part of the graph in a folder with blanks and quotes in its name."""

import pytest
import yaml

from conftest import make_project

pytestmark = pytest.mark.workflow

WORLD, PREPARED = "data/tiny/world/manifest.json", "data/tiny/prepared/pas20/val"


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / 'Anna\'s "open $HOME" folder'
    folder.mkdir()
    return make_project(folder)


def test_the_world_is_made_and_prepared_in_a_folder_with_blanks_and_quotes(project):
    project.snakemake("--", f"{PREPARED}/stats.json")
    assert (project.folder / PREPARED / "index.csv").stat().st_size > 0
    assert (project.results / "logs/prepare_dataset/pas20_val.log").is_file()


def test_downloads_and_the_experiment_table_may_lie_in_such_a_folder(project):
    project.snakemake("--", WORLD)
    downloads = project.folder / "Anna's downloads"
    (project.folder / "data/tiny/world").rename(downloads)
    (project.folder / "experiments.csv").rename(project.folder / "Anna's table.csv")
    overlay = {"data": {"raw_root": downloads.name}, "experiments": "Anna's table.csv"}
    (project.folder / "hers.yaml").write_text(yaml.safe_dump(overlay))
    configuration = ("--configfile", project.folder / "tiny.yaml", project.folder / "hers.yaml")
    project.snakemake(*configuration, "--", f"{PREPARED}/stats.json")
    assert (project.folder / PREPARED / "vocabulary.json").stat().st_size > 0
    plan = project.snakemake(*configuration, "-n", "-p", "--", "results/tiny/tables/table1.csv")
    assert "--experiments 'Anna'\"'\"'s table.csv'" in plan.stdout + plan.stderr
