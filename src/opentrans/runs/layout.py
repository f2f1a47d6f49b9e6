"""Where every result lies: the path of each file, its pattern for the workflow, and back from a path to a run.

Nothing else in the package or the workflow knows these folders. A method that takes names gives one file,
``results.checkpoint(run_id)``; without names it gives the pattern whose wildcards the workflow fills,
``training/{target}/{subnetwork}/{freeze}/seed{seed}/checkpoint.safetensors``.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from opentrans.errors import UserError
from opentrans.runs.table import RunId, SubnetworkId

TRAINING, CHECKPOINT = "training", "checkpoint.safetensors"
# What a prepared data set consists of, beside its label maps.
INDEX_FILE, VOCABULARY_FILE, STATISTICS_FILE = "index.csv", "vocabulary.json", "stats.json"
NOUNS_FILE = "nouns.json"  # of the training set, for the grounding loss
TABLE_KINDS = ("csv", "md", "tex", "html")
FIGURE_KINDS = ("svg", "png")
SEED = re.compile(r"seed(\d+)")
WORLDS = "worlds"  # holds the folders of the seeds, where each has a world and a teacher of its own
RUN_REMEDY = "give a run's folder, for example results/mini/training/han/dense/none/seed0"


@runtime_checkable
class SeedNames(Protocol):
    """Whatever names a seed: a `WorldId`, a `RunId`, the workflow's wildcards (all text)."""

    @property
    def seed(self) -> int | str:
        """The seed."""


@runtime_checkable
class TargetNames(Protocol):
    """Whatever names a target: a `RunId`, the workflow's wildcards."""

    @property
    def target(self) -> str:
        """The target's name."""


@runtime_checkable
class SubnetworkNames(SeedNames, Protocol):
    """Whatever names a subnetwork: a `SubnetworkId`, a `RunId`, the workflow's wildcards."""

    @property
    def subnetwork(self) -> str:
        """The recipe's name."""


@runtime_checkable
class WarmUpNames(SubnetworkNames, TargetNames, Protocol):
    """Whatever names a warm-up, or weights that alpha is fitted to; a `RunId` does."""


@runtime_checkable
class FitNames(WarmUpNames, Protocol):
    """Whatever names a fit of alpha: the workflow's wildcards."""

    @property
    def fitted(self) -> str:
        """Which weights: ``before_mask`` or ``masked``."""


@runtime_checkable
class RunNames(WarmUpNames, Protocol):
    """Whatever names a training run: a `RunId`, the workflow's wildcards (all text)."""

    @property
    def freeze(self) -> str:
        """The freeze recipe's name."""


@dataclass(frozen=True)
class Wildcards:
    """Names that are the workflow's wildcards themselves: a path made of them is a pattern."""

    target: str = "{target}"
    subnetwork: str = "{subnetwork}"
    freeze: str = "{freeze}"
    seed: str = "{seed}"


WILDCARDS = Wildcards()
# What tells the logs of a kind of job apart.
SUBNETWORK_JOB = "{subnetwork}_seed{seed}"
WARM_UP_JOB = "{target}_{subnetwork}_seed{seed}"
FIT_JOB = "{target}_{subnetwork}_{fitted}_{estimator}_seed{seed}"
RUN_JOB = "{target}_{subnetwork}_{freeze}_seed{seed}"


def name_subnetwork(names: SubnetworkNames) -> str:
    """``{subnetwork}/seed{seed}``, the folders of one subnetwork."""
    return f"{names.subnetwork}/seed{names.seed}"


def name_run(names: RunNames) -> str:
    """``{target}/{subnetwork}/{freeze}/seed{seed}``, the folders of one training run."""
    return f"{name_recipe(names)}/seed{names.seed}"


def name_recipe(names: RunNames) -> str:
    """``{target}/{subnetwork}/{freeze}``: the runs of all seeds together."""
    return f"{names.target}/{names.subnetwork}/{names.freeze}"


def get_text_file(folder: Path, prompts: str, vocabulary: str) -> Path:
    """The embeddings of a vocabulary (``coco_train``) inside the folder of all embeddings."""
    return folder / prompts / f"{vocabulary}.safetensors"


def get_metrics_file(folder: Path, benchmark: str) -> Path:
    """The metrics of a benchmark inside the folder of a run's evaluations."""
    return folder / f"{benchmark}.json"


def get_confusion_file(folder: Path, benchmark: str) -> Path:
    """The confusion matrix of a benchmark inside the folder of a run's evaluations."""
    return folder / f"{benchmark}.confusion.safetensors"


@dataclass(frozen=True)
class DataLayout:
    """The files of a profile's data, in `folder`."""

    folder: Path

    @classmethod
    def of_profile(cls, profile: str) -> "DataLayout":
        """Relative to the working directory."""
        return cls(Path("data", profile))

    def of_seed(self, seed: int | str) -> "DataLayout":
        """The data of one seed, where every seed has a world of its own."""
        return DataLayout(self.folder / WORLDS / f"seed{seed}")

    @property
    def world(self) -> Path:
        """The mini world: data sets in their official layouts, and captioned images."""
        return self.folder / "world"

    @property
    def manifest(self) -> Path:
        """The hashes of the mini world's files; it stands for all of them."""
        return self.world / "manifest.json"

    @property
    def captions(self) -> Path:
        """The mini world's captioned images."""
        return self.world / "captions"

    @property
    def all_prepared(self) -> Path:
        """The folder of all prepared data sets."""
        return self.folder / "prepared"

    def prepared(self, dataset: str = "{dataset}", split: str = "{split}") -> Path:
        """The folder of a prepared data set."""
        return self.all_prepared / dataset / split

    def prepared_files(self, dataset: str = "{dataset}", split: str = "{split}") -> list[Path]:
        """The files that stand for a prepared data set."""
        return [get(dataset, split) for get in (self.statistics, self.index, self.vocabulary)]

    def statistics(self, dataset: str = "{dataset}", split: str = "{split}") -> Path:
        """How many images, classes and pixels a prepared data set has; written last."""
        return self.prepared(dataset, split) / STATISTICS_FILE

    def index(self, dataset: str = "{dataset}", split: str = "{split}") -> Path:
        """The images of a prepared data set."""
        return self.prepared(dataset, split) / INDEX_FILE

    def vocabulary(self, dataset: str = "{dataset}", split: str = "{split}") -> Path:
        """The class names of a prepared data set."""
        return self.prepared(dataset, split) / VOCABULARY_FILE

    @property
    def nouns(self) -> Path:
        """The nouns of the training images' captions."""
        return self.prepared("coco", "train") / NOUNS_FILE


@dataclass(frozen=True)
class ResultsLayout:
    """The files of a profile's results, in `folder`."""

    folder: Path

    @classmethod
    def of_profile(cls, profile: str) -> "ResultsLayout":
        """Relative to the working directory."""
        return cls(Path("results", profile))

    def of_seed(self, seed: int | str) -> "ResultsLayout":
        """The results of one seed, where every seed has a world and a teacher of its own."""
        return ResultsLayout(self.folder / WORLDS / f"seed{seed}")

    @property
    def configs(self) -> Path:
        """The folder of the configurations that the results were made with; all seeds of a profile share it."""
        is_of_seed = self.folder.parent.name == WORLDS
        return (self.folder.parents[1] if is_of_seed else self.folder) / "config"

    def config(self, digest: str) -> Path:
        """A configuration, under a name made of its content."""
        return self.configs / f"{digest}.yaml"

    def log(self, job: str) -> Path:
        """The log of a job such as ``train/{target}_{subnetwork}_{freeze}_seed{seed}``."""
        return self.folder / "logs" / f"{job}.log"

    @property
    def jobs(self) -> Path:
        """The folder of the time and memory of every job."""
        return self.folder / "benchmarks"

    def find_job_folders(self) -> list[Path]:
        """The folders of the time and memory of all jobs that ran: the profile's, and those of the seeds' worlds."""
        return [self.jobs, *sorted(self.folder.glob(f"{WORLDS}/*/{self.jobs.name}"))]

    def job(self, job: str) -> Path:
        """Time and memory of a job, named as its log."""
        return self.jobs / f"{job}.tsv"

    @property
    def teacher(self) -> Path:
        """CLIP: weights and architecture."""
        return self.folder / "teacher/teacher.safetensors"

    @property
    def teacher_log(self) -> Path:
        """The log of its training, where it was trained here."""
        return self.folder / "teacher/log.csv"

    @property
    def zero_shot(self) -> Path:
        """Its zero-shot accuracy, where it was trained here."""
        return self.folder / "teacher/zero_shot.json"

    @property
    def regions(self) -> Path:
        """CLIP's embeddings of the training set's regions."""
        return self.folder / "regions/coco_train.safetensors"

    def text(self, prompts: str, dataset: str = "coco", split: str = "train") -> Path:
        """CLIP's embeddings of a prepared data set's vocabulary; of the training vocabulary by default."""
        return get_text_file(self.folder / "text", prompts, f"{dataset}_{split}")

    @property
    def nouns(self) -> Path:
        """CLIP's embeddings of the nouns of the training images' captions."""
        return self.folder / "text/nouns.safetensors"

    def _subnetwork(self, names: SubnetworkNames) -> Path:
        return self.folder / "subnetworks" / name_subnetwork(names)

    def subnetwork(self, names: SubnetworkNames = WILDCARDS) -> Path:
        """Masks and weights."""
        return self._subnetwork(names) / "subnetwork.safetensors"

    def rounds(self, names: SubnetworkNames = WILDCARDS) -> Path:
        """The course of the search that found a subnetwork."""
        return self._subnetwork(names) / "rounds.csv"

    def layers(self, names: SubnetworkNames = WILDCARDS) -> Path:
        """The density of each layer of a subnetwork."""
        return self._subnetwork(names) / "layers.csv"

    def _warm_up(self, names: WarmUpNames) -> Path:
        return self.folder / "warm_ups" / names.target / name_subnetwork(names)

    def warm_up(self, names: WarmUpNames = WILDCARDS) -> Path:
        """The checkpoint of the iterations that all freezing runs of a target with a subnetwork share."""
        return self._warm_up(names) / CHECKPOINT

    def warm_up_log(self, names: WarmUpNames = WILDCARDS) -> Path:
        """The training log of a warm-up."""
        return self._warm_up(names) / "log.csv"

    def fit(self, names: WarmUpNames = WILDCARDS, weights: str = "{fitted}", estimator: str = "{estimator}") -> Path:
        """Alpha of every layer after the warm-up, of the weights before the mask or of the masked ones."""
        folder = self.folder / "fits" / names.target / names.subnetwork
        return folder / f"{weights}_{estimator}" / f"seed{names.seed}" / "alphas.csv"

    def freeze_plan(self, names: RunNames = WILDCARDS) -> Path:
        """Which layers a run freezes."""
        return self.folder / "freeze_plans" / name_run(names) / "plan.csv"

    def checkpoint(self, names: RunNames = WILDCARDS) -> Path:
        """The checkpoint after a run's last iteration."""
        return self.folder / TRAINING / name_run(names) / CHECKPOINT

    def training_log(self, names: RunNames = WILDCARDS) -> Path:
        """The training log of a run."""
        return self.folder / TRAINING / name_run(names) / "log.csv"

    def alphas(self, names: RunNames = WILDCARDS) -> Path:
        """Alpha of every layer while a run trained."""
        return self.folder / "alphas" / name_run(names) / "alphas.csv"

    def _evaluations(self, names: RunNames) -> Path:
        return self.folder / "evaluations" / name_run(names)

    def evaluation(self, benchmark: str, names: RunNames = WILDCARDS) -> Path:
        """The metrics of a run on a benchmark."""
        return get_metrics_file(self._evaluations(names), benchmark)

    def confusion(self, benchmark: str, names: RunNames = WILDCARDS) -> Path:
        """The confusion matrix of a run on a benchmark."""
        return get_confusion_file(self._evaluations(names), benchmark)

    def prediction(self, benchmark: str, names: RunNames = WILDCARDS) -> Path:
        """What a run predicts for a few images of a benchmark."""
        return self.folder / "predictions" / name_run(names) / f"{benchmark}.safetensors"

    def profile(self, target: str = "{target}") -> Path:
        """Parameters and multiply-accumulates of each layer of a dense target."""
        return self.folder / "costs" / f"{target}.csv"

    def costs(self, names: RunNames = WILDCARDS) -> Path:
        """Parameters, multiply-accumulates and training FLOPs of a run."""
        return self.folder / "costs" / name_run(names) / "costs.json"

    def cka(self, names: RunNames = WILDCARDS) -> Path:
        """How similar a run's backbone is to CLIP's image encoder."""
        return self.folder / "cka" / name_run(names) / "cka.json"

    def table(self, name: str, kind: str) -> Path:
        """A table of the paper (``table1``) as ``csv``, ``md``, ``tex`` or ``html``."""
        return self.folder / "tables" / f"{name}.{kind}"

    def figure(self, name: str, kind: str) -> Path:
        """A figure as ``svg`` or ``png``."""
        return self.folder / "figures" / f"{name}.{kind}"

    def collected(self, name: str, kind: str = "csv") -> Path:
        """What is made of all runs together: ``results``, ``claims``, ``metrics``, ``summary``, ``report``, ..."""
        return self.folder / f"{name}.{kind}"


def parse_subnetwork(path: Path) -> SubnetworkId:
    """The subnetwork that a file ``.../{subnetwork}/seed{n}/{file}`` belongs to.

    Raises:
        UserError: the last folder is not ``seed`` and a number.
    """
    (subnetwork,), seed = _parse_folders(path, ("subnetwork",))
    return SubnetworkId(subnetwork, seed)


def parse_run(path: Path) -> RunId:
    """The run that a file ``.../{target}/{subnetwork}/{freeze}/seed{n}/{file}`` belongs to.

    Raises:
        UserError: the last folder is not ``seed`` and a number.
    """
    (target, subnetwork, freeze), seed = _parse_folders(path, ("target", "subnetwork", "freeze"))
    return RunId(target, subnetwork, freeze, seed)


def _parse_folders(path: Path, fields: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
    """The folders above the last one, as many as there are `fields`, and the seed that the last one names."""
    *names, last = path.parts[:-1][-len(fields) - 1 :] or ("",)
    seed = SEED.fullmatch(last)

    if seed is None or len(names) < len(fields):
        wanted = "/".join(f"{{{field}}}" for field in fields)
        raise UserError(path, f"does not lie in {wanted}/seed{{n}}/", "name files where the workflow puts them")
    return tuple(names), int(seed[1])


def parse_checkpoint(path: Path) -> tuple[ResultsLayout, RunId]:
    """The folder of results that a run's checkpoint lies in, and the run.

    Raises:
        UserError: it lies elsewhere.
    """
    folders = path.resolve().parents

    # The sixth folder from below is that of the results: {results}/training/{target}/{subnetwork}/{freeze}/seed{n}.
    if len(folders) < 6 or folders[4].name != TRAINING or not SEED.fullmatch(folders[0].name):
        raise UserError(
            path, f"does not lie in {TRAINING}/{{target}}/{{subnetwork}}/{{freeze}}/seed{{seed}}", RUN_REMEDY
        )
    return ResultsLayout(folders[5]), parse_run(path.resolve())
