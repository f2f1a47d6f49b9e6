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

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from opentrans.config import merge, parse_config, read_config_file
from opentrans.data.downloads import describe_missing
from opentrans.errors import UserError
from opentrans.runs.code_digest import export_interpreter, hash_sources
from opentrans.runs.find import name_config
from opentrans.runs.layout import FIT_JOB, RUN_JOB, SUBNETWORK_JOB, WARM_UP_JOB
from opentrans.runs.selection import (
    ALPHA_FIGURES,
    CLAIM_FIGURES,
    IMAGE_FIGURES,
    SEARCH_PROMPTS,
    SUBNETWORK_FIGURES,
    TRAINING_FIGURES,
    TRAINING_SET,
    Selection,
)
from opentrans.runs.table import read_experiments
from opentrans.system.files import write_text
from opentrans.system.signals import TIME_LIMIT

export_interpreter()
# Snakemake takes PYTHONPATH away from jobs in conda environments; this is said after the environment is activated.
PREFIX = f"export PYTHONPATH={shlex.quote(str(REPOSITORY / 'src'))}; "
shell.prefix(PREFIX)


def get_project_file(path):
    """A file named relative to the working directory, or else to this repository."""
    return path if Path(path).exists() else str(REPOSITORY / path)


# A workflow that takes this one as a module hands over an overlay, and `configfile:` is passed over.
DEFAULT = read_config_file(REPOSITORY / "config/config.yaml")

try:
    # Snakemake has merged these already, but takes the last of two equal keys, which is an error here.
    for path in workflow.configfiles:
        read_config_file(Path(path))
    CONFIG = parse_config(merge(DEFAULT, config), "configuration")
    EXPERIMENTS = read_experiments(Path(get_project_file(CONFIG.experiments)), CONFIG)
except UserError as error:
    raise WorkflowError(str(error)) from None

# What a job may take, and when one that resumes has to end itself.
if CONFIG.time_limit is not None:
    shell.prefix(PREFIX + f"export {TIME_LIMIT}={60 * CONFIG.time_limit}; ")

# Which files are needed, and where they lie. Rules name no folder. What is made of all seeds lies in the profile's
# folder; the chain's files do, too, or in a folder of their seed where each has a world of its own.
FILES = Selection(CONFIG, EXPERIMENTS)
PROFILE = FILES.results
RESULTS, DATA = FILES.get_results(), FILES.get_data()
PAPER = get_project_file("config/paper_results.csv")
CLAIMS = get_project_file(CONFIG.claims)
REPORT = Path(get_project_file("workflow/report"))
EXPERIMENT_TABLE = get_project_file(CONFIG.experiments)
# What the default target and the target `paper` write beside their tables: by these tables and figures.
SCOPES = {
    "summary": (CONFIG.tables, FILES.summary_figures),
    "report": (FILES.all_tables, FILES.report_figures),
}
ALL_RESULTS = PROFILE.collected("all_results")
COLLECTED = {"summary": PROFILE.collected("results"), "report": ALL_RESULTS}

# What the commands read: the configuration as Snakemake merged it, under a name made of its content, so that another
# workflow (or a dry run) in this folder with other settings does not change the file under running jobs.
_name, _content = name_config(CONFIG)
CONFIG_FILE = PROFILE.folder / _name
if not CONFIG_FILE.exists():
    write_text(CONFIG_FILE, _content)

# Said while planning, so that a dry run tells it, too.
_missing = describe_missing(CONFIG)
if _missing and workflow.is_main_process:
    logger.warning(_missing)


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


# Parameters: what a rule reruns for, a digest of the code that it calls among them (`hash_sources`). Options are lists,
# so that the shell quotes each word by itself.


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


def describe(*sections):
    """The settings behind a job: sections under names with wildcards, such as ``targets.{target}``."""
    return lambda wildcards: get_settings(
        *(section.format(**dict(wildcards.items())) for section in sections)
    )


def describe_architecture(*sections):
    """The settings of a target without its training, and other sections: for jobs that look at a trained run."""
    return lambda wildcards: json.dumps(
        CONFIG.targets[wildcards.target].model_dump(mode="json", exclude={"training"}),
        sort_keys=True,
    ) + get_settings(*sections)


def get_folder(wildcards, output):
    """The folder of a rule's first output."""
    return str(Path(output[0]).parent)


def get_dataset(wildcards, input):
    """The folder of the prepared data set whose files are a rule's first input."""
    return str(Path(input[0]).parent)


def make_options(**flags):
    """Command-line options for inputs that only some jobs have: ``plan="--plan"``."""
    return lambda wildcards, input: [
        word
        for name, flag in flags.items()
        for word in (flag, *getattr(input, name))
        if getattr(input, name)
    ]


def make_trace_option(is_traced):
    """The command-line option of a training for those whose alpha is followed."""
    option = ["--trace-points", str(CONFIG.traces.points)]
    return lambda wildcards: option if is_traced(wildcards) else []


def name_files(field, names):
    """NAME=FILE pairs of an input of several files."""
    return lambda wildcards, input: [
        f"{name}={path}"
        for name, path in zip(names, getattr(input, field), strict=True)
    ]


def get_captions(name="*"):
    """The captions of tables and figures: a file each, except the templates of Snakemake's report."""
    return [
        str(path)
        for path in sorted(REPORT.glob(f"{name}.rst"))
        if path.stem not in ("workflow", "table")
    ]


def mark_figures(names):
    """The files of a rule that draws `names`; the SVG goes into Snakemake's report with the figure's caption."""
    files = []
    for name, title in names.items():
        svg, png = (str(path) for path in FILES.get_figures([name]))
        labels = {"figure": title}
        caption = f"../report/{name}.rst"
        files += [report(svg, caption, category="Figures", labels=labels), png]
    return files


def for_table(select):
    """An input function that calls `select` with the one table that a job makes."""
    return lambda wildcards: select([int(wildcards.number)])


def get_table_captions(wildcards):
    """The file with a table's caption; a table of one's own may have none."""
    return get_captions(f"table{wildcards.number}")


def read_table_caption(wildcards):
    """The caption's text, for Snakemake's report."""
    paths = get_table_captions(wildcards)
    return "".join(Path(path).read_text(encoding="utf-8") for path in paths)
