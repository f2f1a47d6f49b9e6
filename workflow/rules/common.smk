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

from opentrans.config import merge, parse_config
from opentrans.errors import UserError
from opentrans.runs.code_digest import export_interpreter, hash_sources
from opentrans.runs.find import name_config
from opentrans.runs.layout import FIT_JOB, RUN_JOB, SUBNETWORK_JOB, WARM_UP_JOB
from opentrans.runs.selection import (
    ALPHA_FIGURES,
    IMAGE_FIGURES,
    SEARCH_PROMPTS,
    SUBNETWORK_FIGURES,
    TRAINING_FIGURES,
    TRAINING_SET,
    Selection,
)
from opentrans.runs.table import read_experiments
from opentrans.system.files import write_text

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

# Which files are needed, and where they lie. Rules name no folder.
FILES = Selection(CONFIG, EXPERIMENTS)
RESULTS, DATA = FILES.results, FILES.data
PAPER = get_project_file("config/paper_results.csv")
CLAIMS = get_project_file(CONFIG.claims)
REPORT = Path(get_project_file("workflow/report"))
EXPERIMENT_TABLE = get_project_file(CONFIG.experiments)
# The default target makes the tables of the configuration, `paper` all tables of the experiment table.
# What else each of the two writes: collected results and report, by the tables they hold and the figures.
SCOPES = {
    "summary": (CONFIG.tables, FILES.summary_figures),
    "report": (FILES.all_tables, FILES.report_figures),
}
COLLECTED = {
    "summary": RESULTS.collected("results"),
    "report": RESULTS.collected("all_results"),
}

# What the commands read: the configuration as Snakemake merged it, under a name made of its content, so that another
# workflow (or a dry run) in this folder with other settings does not change the file under running jobs.
_name, _content = name_config(CONFIG)
CONFIG_FILE = RESULTS.folder / _name
if not CONFIG_FILE.exists():
    write_text(CONFIG_FILE, _content)


wildcard_constraints:
    target="|".join(CONFIG.targets),
    subnetwork="|".join(CONFIG.subnetworks),
    freeze="|".join(CONFIG.freezing),
    seed=r"\d+",
    number="|".join(str(number) for number in FILES.all_tables),
    fitted="before_mask|masked",
    estimator="weightwatcher|released",
    dataset="|".join(sorted({dataset for dataset, _ in FILES.sets})),
    split="train|val",


# Parameters: what a rule reruns for. Options are lists, so that the shell quotes each word by itself.


def get_config_file(wildcards, output):
    """The configuration's file. Snakemake compares no parameter derived from `output`: reruns follow the others."""
    return str(CONFIG_FILE)


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


def get_target_settings(wildcards):
    """The settings behind a run of a target."""
    return get_settings(f"targets.{wildcards.target}", "threads.run", "device", "data")


def get_architecture(wildcards, *sections):
    """The settings of a target without its training, and other sections: a trained run is only looked at."""
    target = CONFIG.targets[wildcards.target].model_dump(
        mode="json", exclude={"training"}
    )
    return json.dumps(target, sort_keys=True) + get_settings(*sections)


def get_evaluation_settings(wildcards):
    """The settings behind an evaluation: the architecture and the protocol."""
    return get_architecture(
        wildcards, "evaluation", "threads.run", "device", "benchmarks"
    )


def get_folder(wildcards, output):
    """The folder of a rule's first output."""
    return str(Path(output[0]).parent)


def get_dataset(wildcards, input):
    """The folder of the prepared data set whose files are a rule's first input."""
    return str(Path(input[0]).parent)


def get_plan_option(wildcards, input):
    """The command-line option for a freeze plan, where there is one."""
    return ["--plan", *input.plan] if input.plan else []


def get_before_mask_option(wildcards, input):
    """The command-line option for the subnetwork that holds the removed weights, where they are fitted."""
    return ["--before-mask", *input.subnetwork] if input.subnetwork else []


# Resources.


def get_gpus(kind, target=None):
    """GPUs of a job of this kind: how many processes it runs in, where the machine has as many."""
    if CONFIG.device == "cpu":
        return 0
    return CONFIG.gpus.targets.get(target, getattr(CONFIG.gpus, kind))


def get_run_gpus(wildcards):
    """GPUs of a target's training."""
    return get_gpus("run", wildcards.target)


def get_memory(kind):
    """Main memory of a job of this kind in megabytes; more at every attempt."""
    return lambda wildcards, attempt: getattr(CONFIG.memory_mb, kind) * attempt


def get_captions(name="*"):
    """The captions of tables and figures: a file each, except the templates of Snakemake's report."""
    return [
        str(path)
        for path in sorted(REPORT.glob(f"{name}.rst"))
        if path.stem not in ("workflow", "table")
    ]
