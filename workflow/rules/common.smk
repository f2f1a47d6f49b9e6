import json
import shlex
import sys
from pathlib import Path

# Not workflow.basedir, which is the folder of whichever Snakefile was named.
REPOSITORY = (
    Path(workflow.current_basedir.get_path_or_uri(secret_free=False))
    .resolve()
    .parents[1]
)
sys.path.insert(0, str(REPOSITORY / "src"))

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from opentrans.config import merge, parse_config
from opentrans.data.downloads import describe_missing
from opentrans.errors import UserError
from opentrans.runs.table import read_experiments, runs_of
from opentrans.system.files import write_text
from opentrans.runs.find import name_config
from opentrans.runs.code_digest import export_interpreter, hash_sources

export_interpreter()
# Snakemake takes PYTHONPATH away from jobs in conda environments; this is said after the environment is activated.
shell.prefix(f"export PYTHONPATH={shlex.quote(str(REPOSITORY / 'src'))}; ")


def get_project_file(path):
    """A file named relative to the working directory, or else to this repository."""
    return path if Path(path).exists() else str(REPOSITORY / path)


# A workflow that takes this one as a module hands over an overlay, and `configfile:` is passed over.
BASE = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text(encoding="utf-8"))

try:
    CONFIG = parse_config(merge(BASE, config), "configuration")
    EXPERIMENTS = read_experiments(Path(get_project_file(CONFIG.experiments)), CONFIG)
except UserError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{CONFIG.profile}"
DATA = f"data/{CONFIG.profile}"
WORLD = f"{DATA}/world"
PREPARED = f"{DATA}/prepared"
LOGS = f"{RESULTS}/logs"
JOBS = f"{RESULTS}/benchmarks"
TEACHER = f"{RESULTS}/teacher/teacher.safetensors"
REGIONS = f"{RESULTS}/regions/coco_train.safetensors"
PAPER = get_project_file("config/paper_results.csv")
CLAIMS = get_project_file(CONFIG.claims)
REPORT = Path(get_project_file("workflow/report"))
EXPERIMENT_TABLE = get_project_file(CONFIG.experiments)
TEXTS = f"{RESULTS}/text"
# The search reads plain prompts whatever the targets use.
PROMPTS = sorted({"plain", *(target.prompts for target in CONFIG.targets.values())})
RUN = "{target}/{subnetwork}/{freeze}/seed{seed}"
TRAINING_SET = ("coco", "train")
SETS = [TRAINING_SET, *((benchmark, "val") for benchmark in CONFIG.benchmarks)]
# Figures and how Snakemake's report lists them, by the rule that draws them.
RESULT_FIGURES = (
    {
        "table1_mean": "Table 1: mean mIoU",
        "table1_benchmarks": "Table 1: mIoU by benchmark",
        "figure1": "1: mIoU against FLOPs",
        "miou_density": "mIoU against density",
    }
    if 1 in CONFIG.tables
    else {}
)
SUBNETWORK_FIGURES = {
    "density_layers": "density of each layer",
    "density_rounds": "course of the search",
}
TRAINING_FIGURES = {
    "training_subnetworks": "training loss by subnetwork",
    "training_freezing": "training loss by freeze recipe",
}
ALPHA_FIGURES = {
    "figure6": "6: alpha before fine-tuning",
    "figure7": "7: median of alpha during fine-tuning",
    "figure9": "9: alpha before and after",
}
IMAGE_FIGURES = {
    "figure5": "5: predictions",
    "figure8": "8: more predictions",
}
FIGURES = (*RESULT_FIGURES, *SUBNETWORK_FIGURES, *TRAINING_FIGURES)
# The default target makes the tables of the configuration, `paper` all tables of the experiment table.
ALL_TABLES = sorted({experiment.table for experiment in EXPERIMENTS})
COMPARING_TABLES, COUNTING_TABLES = (9,), (8,)
# What else each of the two writes: collected results and report, by the tables they hold and the figures.
SCOPES = {
    "summary": (CONFIG.tables, FIGURES),
    "report": (ALL_TABLES, (*FIGURES, *ALPHA_FIGURES, *IMAGE_FIGURES)),
}
COLLECTED = {
    "summary": f"{RESULTS}/results.csv",
    "report": f"{RESULTS}/all_results.csv",
}
USES_GPU = CONFIG.device != "cpu"

# What the commands read: the configuration as Snakemake merged it, under a name made of its content, so that another
# workflow (or a dry run) in this folder with other settings does not change the file under running jobs.
_name, _content = name_config(CONFIG)
CONFIG_FILE = f"{RESULTS}/{_name}"
if not Path(CONFIG_FILE).exists():
    write_text(Path(CONFIG_FILE), _content)

# Said while planning, so that a dry run tells it, too.
_missing = describe_missing(CONFIG)
if _missing and workflow.is_main_process:
    logger.warning(_missing)


wildcard_constraints:
    target="|".join(CONFIG.targets),
    subnetwork="|".join(CONFIG.subnetworks),
    freeze="|".join(CONFIG.freezing),
    seed=r"\d+",
    fitted="before_mask|masked",
    estimator="weightwatcher|released",
    dataset="|".join(sorted({dataset for dataset, _ in SETS})),
    split="train|val",


def get_config_file(wildcards, output):
    """The configuration's file. Snakemake compares no parameter derived from `output`: reruns follow the others."""
    return CONFIG_FILE


def get_settings(*sections):
    """The configuration under dotted names (all of it without), as text: a rule reruns when its part changes."""
    parts = {} if sections else CONFIG.model_dump(mode="json")
    for section in sections:
        part = CONFIG.model_dump(mode="json")
        for name in section.split("."):
            part = part[name]
        parts[section] = part
    return json.dumps(parts, sort_keys=True)


def get_code(command):
    """A digest of the source files behind a command: a rule reruns when the code that it calls changes."""
    return hash_sources(command)


def get_world():
    """The generated world, where the data set is the mini world's."""
    return [f"{WORLD}/manifest.json"] if CONFIG.data.raw_root == WORLD else []


def get_prepared(dataset, split):
    """The files that stand for a prepared data set."""
    return [
        f"{PREPARED}/{dataset}/{split}/{file}"
        for file in ("stats.json", "index.csv", "vocabulary.json")
    ]


def get_all_prepared():
    """The files of every prepared data set."""
    return [path for dataset, split in SETS for path in get_prepared(dataset, split)]


def get_vocabularies():
    """Every prepared vocabulary."""
    return [f"{PREPARED}/{dataset}/{split}/vocabulary.json" for dataset, split in SETS]


def get_text_files():
    """The embeddings of every vocabulary with all prompts that the targets use."""
    return [
        f"{TEXTS}/{prompts}/{dataset}_{split}.safetensors"
        for prompts in PROMPTS
        for dataset, split in SETS
    ]


def get_train_text(wildcards):
    """The training vocabulary's embeddings with the prompts of the target."""
    return f"{TEXTS}/{CONFIG.targets[wildcards.target].prompts}/coco_train.safetensors"


def get_benchmark_texts(wildcards):
    """The benchmarks' embeddings with the prompts of the target."""
    prompts = CONFIG.targets[wildcards.target].prompts
    return [
        f"{TEXTS}/{prompts}/{benchmark}_val.safetensors"
        for benchmark in CONFIG.benchmarks
    ]


def get_text_options(wildcards, input):
    """Benchmark=file pairs for `get_benchmark_texts`."""
    return [
        f"{benchmark}={path}"
        for benchmark, path in zip(CONFIG.benchmarks, input.texts, strict=True)
    ]


def get_folder(wildcards, output):
    """The folder of a rule's first output."""
    return str(Path(output[0]).parent)


def get_text_folder(wildcards, output):
    """The folder with one folder for each kind of prompts."""
    return str(Path(output[0]).parents[1])


def get_dataset(wildcards, input):
    """The folder of the prepared training set, whose files are a rule's first input."""
    return str(Path(input[0]).parent)


def get_vocabulary_options(wildcards, input):
    """Data set=file pairs of all prepared vocabularies."""
    pairs = zip(SETS, input.vocabularies, strict=True)
    return [f"{dataset}_{split}={path}" for (dataset, split), path in pairs]


def get_dataset_options(wildcards, input):
    """Benchmark=folder pairs of the prepared benchmarks."""
    return [
        f"{benchmark}={PREPARED}/{benchmark}/val" for benchmark in CONFIG.benchmarks
    ]


def get_captions(wildcards, input):
    """The folder of the generated captions."""
    return str(Path(input[0]).parent / "captions")


def get_match(wildcards):
    """The subnetwork whose layer densities a per-layer random mask copies."""
    match = CONFIG.subnetworks[wildcards.subnetwork].match
    return (
        [f"{RESULTS}/subnetworks/{match}/seed{wildcards.seed}/subnetwork.safetensors"]
        if match
        else []
    )


def get_match_option(wildcards, input):
    """The command-line option for `get_match`."""
    return f"--match {input.match}" if input.match else ""


def get_recipe(wildcards):
    """The settings behind a subnetwork."""
    return get_settings(
        f"subnetworks.{wildcards.subnetwork}", "threads.subnetwork", "device", "data"
    )


def get_warm_up(wildcards):
    """The warm-up that a freezing run continues. A run without freezing trains straight through the same iterations."""
    freezes = CONFIG.freezing[wildcards.freeze].method != "none"
    return get_shared_warm_up(wildcards) if freezes else []


def get_shared_warm_up(wildcards):
    """The warm-up of all freezing runs of a target with a subnetwork, where the target has one."""
    if not CONFIG.targets[wildcards.target].training.warmup_iterations:
        return []
    return [
        f"{RESULTS}/warm_ups/{wildcards.target}/{wildcards.subnetwork}/seed{wildcards.seed}/checkpoint.safetensors"
    ]


def get_subnetwork(wildcards):
    """The artefact of a subnetwork."""
    return f"{RESULTS}/subnetworks/{wildcards.subnetwork}/seed{wildcards.seed}/subnetwork.safetensors"


def get_fitted_weights(wildcards):
    """The weights that alpha is fitted to: after the warm-up, or the subnetwork's where there is none."""
    return get_shared_warm_up(wildcards) or get_subnetwork(wildcards)


def get_fitted_subnetwork(wildcards):
    """The subnetwork that holds the removed weights, where alpha is that of the weights before the mask."""
    return [get_subnetwork(wildcards)] if wildcards.fitted == "before_mask" else []


def get_before_mask_option(wildcards, input):
    """The command-line option for `get_fitted_subnetwork`."""
    return f"--before-mask {input.subnetwork}" if input.subnetwork else ""


def get_fit(wildcards):
    """The fits that a freeze plan chooses by; recipes with the same estimator and weights share them."""
    recipe = CONFIG.freezing[wildcards.freeze]
    fit = f"{recipe.weights}_{recipe.estimator}"
    return f"{RESULTS}/fits/{wildcards.target}/{wildcards.subnetwork}/{fit}/seed{wildcards.seed}/alphas.csv"


def get_plan(wildcards):
    """The freeze plan of a run, where it freezes."""
    if CONFIG.freezing[wildcards.freeze].method == "none":
        return []
    return [
        f"{RESULTS}/freeze_plans/{wildcards.target}/{wildcards.subnetwork}/{wildcards.freeze}/seed{wildcards.seed}/plan.csv"
    ]


def get_run_options(wildcards, input):
    """The command-line options for the files that only some runs have."""
    start = f"--start {input.start}" if input.start else ""
    return f"{start} --plan {input.plan}" if input.plan else start


def get_plan_option(wildcards, input):
    """The command-line option for a freeze plan."""
    return f"--plan {input.plan}" if input.plan else ""


def get_weights_prefix(wildcards):
    """Where the backbone's weights lie in `get_fitted_weights`."""
    return "model.backbone." if get_shared_warm_up(wildcards) else "weight."


def get_freeze_settings(wildcards):
    """The settings behind a freeze plan."""
    return get_settings(f"freezing.{wildcards.freeze}")


def get_target_settings(wildcards):
    """The settings behind a run of a target."""
    return get_settings(f"targets.{wildcards.target}", "threads.run", "device", "data")


def get_cost_settings(wildcards):
    """The settings behind a target's costs."""
    return get_settings(f"targets.{wildcards.target}", "costs")


def get_evaluation_settings(wildcards):
    """The settings behind an evaluation: the architecture and the protocol, not the training."""
    target = CONFIG.targets[wildcards.target].model_dump(
        mode="json", exclude={"training"}
    )
    return json.dumps(target, sort_keys=True) + get_settings(
        "evaluation", "threads.run", "device", "benchmarks"
    )


def get_comparison_settings(wildcards):
    """The settings behind a comparison with CLIP: the architecture and the images, not the training."""
    target = CONFIG.targets[wildcards.target].model_dump(
        mode="json", exclude={"training"}
    )
    return json.dumps(target, sort_keys=True) + get_settings(
        "cka", "threads.run", "device"
    )


def get_gpus(kind, target=None):
    """GPUs of a job of this kind: how many processes it runs in, where the machine has as many."""
    if not USES_GPU:
        return 0
    return CONFIG.gpus.targets.get(target, getattr(CONFIG.gpus, kind))


def get_run_gpus(wildcards):
    """GPUs of a target's training."""
    return get_gpus("run", wildcards.target)


def get_search_memory(wildcards, attempt):
    """Memory of a search in megabytes; more at every attempt."""
    return CONFIG.memory_mb.subnetwork * attempt


def get_run_memory(wildcards, attempt):
    """Memory of a training or evaluation in megabytes; more at every attempt."""
    return CONFIG.memory_mb.run * attempt


def get_teacher_memory(wildcards, attempt):
    """Memory of a job of the teacher in megabytes; more at every attempt."""
    return CONFIG.memory_mb.teacher * attempt


def format_run(path, run):
    """Fill a path pattern with a run's names."""
    return path.format(
        target=run.target, subnetwork=run.subnetwork, freeze=run.freeze, seed=run.seed
    )


def get_masks():
    """The subnetworks that the tables need."""
    runs = runs_of(EXPERIMENTS, CONFIG.tables, CONFIG.seeds)
    path = f"{RESULTS}/subnetworks/{{subnetwork}}/seed{{seed}}/subnetwork.safetensors"
    return sorted({format_run(path, run) for run in runs})


def get_plans():
    """The freeze plans that the tables need; costs count them for runs that are not evaluated, too."""
    runs = runs_of(EXPERIMENTS, CONFIG.tables, CONFIG.seeds)
    return [path for run in runs for path in get_plan(run)]


def get_checkpoints():
    """The finished runs that the tables need."""
    runs = runs_of(EXPERIMENTS, CONFIG.tables, CONFIG.seeds, evaluated_only=True)
    return [
        format_run(f"{RESULTS}/training/{RUN}/checkpoint.safetensors", run)
        for run in runs
    ]


def get_evaluations(tables):
    """The evaluations that these tables need."""
    return [
        format_run(f"{RESULTS}/evaluations/{RUN}/{benchmark}.json", run)
        for run in get_runs(tables)
        for benchmark in CONFIG.benchmarks
    ]


def get_costs(tables):
    """The costs that these tables need; a target that is pruned while it trains has none (its density changes)."""
    return [
        format_run(f"{RESULTS}/costs/{RUN}/costs.json", run)
        for run in runs_of(EXPERIMENTS, tables, CONFIG.seeds)
        if CONFIG.subnetworks[run.subnetwork].method != "joint"
    ]


def get_comparisons(tables):
    """The comparisons of backbones with CLIP, where one of these tables shows them."""
    shown = [number for number in tables if number in COMPARING_TABLES]
    runs = runs_of(EXPERIMENTS, shown, CONFIG.seeds)
    return [format_run(f"{RESULTS}/cka/{RUN}/cka.json", run) for run in runs]


def get_tables(numbers):
    """These tables."""
    return [
        f"{RESULTS}/tables/table{number}.{kind}"
        for number in numbers
        for kind in ("csv", "md", "tex")
    ]


def get_csv_tables(numbers):
    """These tables as CSV."""
    return [path for path in get_tables(numbers) if path.endswith(".csv")]


def mark_tables(numbers):
    """These tables; the CSV goes into Snakemake's report with the table's caption."""
    files = []
    for path in get_tables(numbers):
        name = Path(path).stem
        if path.endswith(".csv") and (REPORT / f"{name}.rst").exists():
            labels = {"table": name.removeprefix("table")}
            path = report(
                path, f"../report/{name}.rst", category="Tables", labels=labels
            )
        files.append(path)
    return files


def get_captions_of_report():
    """The captions of tables and figures."""
    return [
        str(path) for path in sorted(REPORT.glob("*.rst")) if path.stem != "workflow"
    ]


def get_claims(scope):
    """The judged claims, which only the report holds."""
    return [f"{RESULTS}/claims.csv"] if scope == "report" else []


def get_claims_option(wildcards, input):
    """The command-line option for `get_claims`."""
    return f"--claims {input.claims}" if input.claims else ""


def get_drawings(figures):
    """These figures as SVG."""
    return [path for path in get_figures(figures) if path.endswith(".svg")]


def get_runs(tables):
    """The evaluated runs that these tables need."""
    return runs_of(EXPERIMENTS, tables, CONFIG.seeds, evaluated_only=True)


def get_subnetworks(file, tables):
    """A file of each subnetwork behind the runs of these tables."""
    pairs = dict.fromkeys((run.subnetwork, run.seed) for run in get_runs(tables))
    return [
        f"{RESULTS}/subnetworks/{subnetwork}/seed{seed}/{file}"
        for subnetwork, seed in pairs
    ]


def get_training_logs(tables):
    """The training logs of the runs of these tables."""
    return [
        format_run(f"{RESULTS}/training/{RUN}/log.csv", run) for run in get_runs(tables)
    ]


def get_iteration_files(name, tables):
    """Rounds or logs, where one of these tables counts iterations."""
    shown = [number for number in tables if number in COUNTING_TABLES]
    return (
        get_training_logs(shown)
        if name == "log.csv"
        else get_subnetworks("rounds.csv", shown)
    )


def get_figures(figures):
    """These figures, as SVG and PNG."""
    return [
        f"{RESULTS}/figures/{name}.{kind}"
        for name in figures
        for kind in ("svg", "png")
    ]


def get_predictions():
    """The predictions that Figures 5 and 8 show: of each target its run with the subnetwork `ours`, or its first."""
    shown = {}
    for run in get_runs(CONFIG.tables):
        if run.seed == CONFIG.seeds[0]:
            best = (run.subnetwork, run.freeze) == ("ours", "none")
            shown[run.target] = run if best else shown.get(run.target, run)
    path = f"{RESULTS}/predictions/{RUN}/{CONFIG.figures.benchmark}.safetensors"
    return [format_run(path, run) for run in shown.values()]


def get_shown_text(wildcards):
    """The embeddings of the shown benchmark's vocabulary with the prompts of the target."""
    prompts = CONFIG.targets[wildcards.target].prompts
    return f"{RESULTS}/text/{prompts}/{CONFIG.figures.benchmark}_val.safetensors"


def mark_figures(names):
    """The files of a rule that draws `names`; the SVG goes into Snakemake's report with the figure's caption."""
    files = []
    for name, title in names.items():
        path = f"{RESULTS}/figures/{name}"
        caption = f"../report/{name}.rst"
        labels = {"figure": title}
        files.append(report(f"{path}.svg", caption, category="Figures", labels=labels))
        files.append(f"{path}.png")
    return files


def get_traced_runs():
    """The runs of the experiment table whose alpha is traced."""
    runs = runs_of(EXPERIMENTS, {row.table for row in EXPERIMENTS}, CONFIG.seeds, True)
    return [
        run
        for run in runs
        if f"{run.target}/{run.subnetwork}/{run.freeze}" in CONFIG.traces.runs
    ]


def get_traces():
    """Their traces of alpha."""
    return [
        format_run(f"{RESULTS}/alphas/{RUN}/alphas.csv", run)
        for run in get_traced_runs()
    ]


def get_traced_subnetwork(wildcards):
    """The subnetwork that holds the removed weights, where traces are of the weights before the mask."""
    before = CONFIG.traces.weights == "before_mask"
    return [get_subnetwork(wildcards)] if before else []


def get_trace_option(wildcards):
    """The command-line option for a run that is traced, or for a warm-up that such a run continues."""
    pair = f"{wildcards.target}/{wildcards.subnetwork}"
    freezing = [n for n, recipe in CONFIG.freezing.items() if recipe.method != "none"]
    names = [wildcards.freeze] if "freeze" in wildcards.keys() else freezing
    traced = any(f"{pair}/{name}" in CONFIG.traces.runs for name in names)
    return f"--trace-points {CONFIG.traces.points}" if traced else ""
