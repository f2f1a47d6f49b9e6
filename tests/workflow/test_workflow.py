import re

import pandas as pd
import pytest
import yaml

from opentrans.cli import main

pytestmark = pytest.mark.workflow


def get_planned(result):
    """The rules that a dry run plans, with the number of their jobs."""
    text = result.stdout + result.stderr
    return {rule: int(count) for rule, count in re.findall(r"^([a-z_]+)\s+(\d+)$", text, re.MULTILINE)}


def change(project, key, value):
    """Lay one changed setting over the tiny profile; returns Snakemake's plan for it."""
    path = project.folder / "changed.yaml"
    for name in reversed(key.split(".")):
        value = {name: value}
    path.write_text(yaml.safe_dump(value))
    return get_planned(project.snakemake("--configfile", project.folder / "tiny.yaml", path, "-n"))


def test_the_whole_graph_runs_to_the_tables(finished):
    for number in (1, 2, 4):
        for kind in ("csv", "md", "tex", "html"):
            assert (finished.results / f"tables/table{number}.{kind}").stat().st_size > 0
    table = pd.read_csv(finished.results / "tables/table1.csv")
    assert set(table["Method"]) == {"Han et al.", "Random (DeeplabV3)", "Ours (FC-CLIP)"}


def test_results_have_a_row_for_each_run_and_benchmark(finished):
    results = pd.read_csv(finished.results / "results.csv")
    assert {"target", "subnetwork", "freeze", "seed", "benchmark", "denominator", "miou"} <= set(results.columns)
    present = results[results.denominator == "present"]
    assert present.groupby(["target", "subnetwork", "freeze", "seed"]).benchmark.nunique().eq(7).all()
    assert len(present.groupby(["target", "subnetwork", "freeze", "seed"])) == 4
    assert results.miou.between(0, 100).all()


def test_figures_and_a_report_come_with_the_tables(finished):
    figures = {path.name for path in (finished.results / "figures").iterdir()}
    names = ("table1_mean", "figure1", "density_layers", "density_rounds", "training_subnetworks")
    assert figures >= {f"{name}.{kind}" for name in names for kind in ("svg", "png")}
    page = (finished.results / "summary.html").read_text()
    assert page.count("<img") == 8
    assert 'id="table1"' in page
    assert 'id="table9"' not in page


def test_the_target_paper_makes_and_explains_every_table_and_figure(finished):
    assert pd.read_csv(finished.results / "tables/table9.csv")["CKA to CLIP"].between(0, 1).all()
    claims = pd.read_csv(finished.results / "claims.csv").set_index("claim")
    assert claims.loc["pruning saves training FLOPs", "verdict"] == "holds"
    assert claims["effect"].notna().all()
    figures = {path.stem for path in (finished.results / "figures").glob("*.svg")}
    assert figures >= {"figure1", "figure5", "figure6", "figure7", "figure8", "figure9", "miou_density"}
    page = (finished.results / "report.html").read_text()
    assert page.count("<img") == len(figures)
    (configuration,) = set(re.findall(r"--configfile (\S+) -- paper", page))
    planned = finished.snakemake("--configfile", finished.folder / configuration, "-n", "--", "all", "paper")
    assert "Nothing to be done" in planned.stdout + planned.stderr


def test_snakemakes_own_report_is_one_file_with_captions_and_categories(finished):
    finished.snakemake("--report", finished.folder / "report.html", "--", "all", "paper")
    text = (finished.folder / "report.html").read_text()
    assert all(f'"{category}"' in text for category in ("Tables", "Figures", "Claims", "Summary"))
    assert "alpha of every" in text.lower()
    assert not re.search(r"<(?:script|img|link)[^>]+(?:src|href)=[\"']https?://", text)


def test_a_benchmark_that_the_table_does_not_name_stays_empty(finished):
    table = pd.read_csv(finished.results / "tables/table1.csv").set_index("Method")
    assert pd.isna(table.loc["Ours (FC-CLIP)", "ade150 (%)"])
    assert not pd.isna(table.loc["Ours (FC-CLIP)", "pc59 (%)"])


@pytest.mark.parametrize("run", ["han/dense/none", "fcclip/ours/none"])
def test_an_image_is_segmented_with_what_the_workflow_leaves(finished, run, tmp_path):
    image = sorted(finished.folder.rglob("coco/val2017/*.jpg"))[0]
    words = ["predict", str(image), "--classes", "sky, circle", "--output-dir", str(tmp_path), "--device", "cpu"]
    assert main([*words, "--run", str(finished.results / f"training/{run}/seed0")]) == 0
    assert (tmp_path / f"{image.stem}_overlay.png").is_file()


def test_a_second_run_has_nothing_to_do(finished):
    result = finished.snakemake("-n")
    assert "Nothing to be done" in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("key", "value", "rerun", "kept"),
    [
        (
            "targets.deeplabv3.training.iterations",
            5,
            {"train": 1, "evaluate_run": 1},
            {"find_subnetwork", "train_teacher"},
        ),
        ("evaluation.denominator", "union", {"collect_results_of_summary": 1}, {"train", "find_subnetwork"}),
        (
            "freezing.alpha_bottom50.ratio",
            0.25,
            {"plan_freeze": 2, "train": 1},
            {"warm_up", "find_subnetwork", "fit_alphas"},
        ),
    ],
)
def test_a_changed_setting_reruns_what_depends_on_it(finished, key, value, rerun, kept):
    planned = change(finished, key, value)
    assert {rule: planned.get(rule) for rule in rerun} == rerun
    assert not kept & set(planned)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("targets: {han: {widht: 3}}", "configuration: targets.han.widht: Extra inputs"),
        ("targets: {han: {like: nobody}}", "configuration: targets.han.like: there is no 'nobody'"),
        ("seeds: [0]\nseeds: [1]", "wrong.yaml: line 2: the key 'seeds' is given twice"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(fresh, text, message):
    path = fresh.folder / "wrong.yaml"
    path.write_text(text)
    result = fresh.snakemake("--configfile", fresh.folder / "tiny.yaml", path, "-n", check=False)
    assert result.returncode != 0
    assert message in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_every_job_leaves_a_log_and_a_benchmark(finished):
    logs = {path.relative_to(finished.results / "logs").with_suffix("") for path in finished.results.rglob("*.log")}
    jobs = {
        path.relative_to(finished.results / "benchmarks").with_suffix("") for path in finished.results.rglob("*.tsv")
    }
    assert logs == jobs
    assert len(logs) > 25
