"""Which files a table, a figure or a report needs, and which files a run is made from.

The workflow asks this while it plans, so nothing heavy is imported. A run is given as a `RunId` or as the workflow's
wildcards. Lists keep the order of the experiment table; what several rows share stands in them once.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from opentrans.config import Config
from opentrans.runs.layout import (
    FIGURE_KINDS,
    TABLE_KINDS,
    WILDCARDS,
    DataLayout,
    FitNames,
    ResultsLayout,
    RunNames,
    SeedNames,
    SubnetworkNames,
    TargetNames,
    WarmUpNames,
    name_recipe,
)
from opentrans.runs.table import Experiment, RunId, SubnetworkId, WorldId, runs_of

TRAINING_SET = ("coco", "train")
# The search reads plain prompts whatever the targets use.
SEARCH_PROMPTS = "plain"
COMPARING_TABLES, COUNTING_TABLES = (9,), (8,)
# The subnetwork and freeze recipe whose predictions are drawn, where a target has such a run.
SHOWN_RECIPE = ("ours", "none")
# The figures that one command draws together, by name, each with its title in a list of all figures.
RESULT_FIGURES = {
    "table1_mean": "Table 1: mean mIoU",
    "table1_benchmarks": "Table 1: mIoU by benchmark",
    "figure1": "1: mIoU against FLOPs",
    "miou_density": "mIoU against density",
}
SUBNETWORK_FIGURES = {"density_layers": "density of each layer", "density_rounds": "course of the search"}
TRAINING_FIGURES = {
    "training_subnetworks": "training loss by subnetwork",
    "training_freezing": "training loss by freeze recipe",
}
ALPHA_FIGURES = {
    "figure6": "6: alpha before fine-tuning",
    "figure7": "7: median of alpha during fine-tuning",
    "figure9": "9: alpha before and after",
}
# The first one of a report.
CLAIM_FIGURES = {"forest": "all claims: effect, interval and verdict"}
IMAGE_FIGURES = {"figure5": "5: predictions", "figure8": "8: more predictions"}


def list_sets(config: Config) -> list[tuple[str, str]]:
    """Data set and split of everything that is prepared: the training set and the benchmarks."""
    return [TRAINING_SET, *((benchmark, "val") for benchmark in config.benchmarks)]


def uses_world(config: Config) -> bool:
    """Whether the data sets are the mini world's, which the workflow generates."""
    return config.data.raw_root == str(DataLayout.of_profile(config.profile).world)


@dataclass(frozen=True)
class Selection:
    """The files that a configuration and its experiment table ask for."""

    config: Config
    experiments: Sequence[Experiment]

    @property
    def results(self) -> ResultsLayout:
        """Where the results of the whole profile lie: tables, figures, reports."""
        return ResultsLayout.of_profile(self.config.profile)

    def get_results(self, names: SeedNames = WILDCARDS) -> ResultsLayout:
        """Where the results of a seed lie: the profile's folder, but where every seed has a world of its own."""
        return self.results.of_seed(names.seed) if self.config.has_worlds else self.results

    def get_data(self, names: SeedNames = WILDCARDS) -> DataLayout:
        """Where the data of a seed lie."""
        data = DataLayout.of_profile(self.config.profile)
        return data.of_seed(names.seed) if self.config.has_worlds else data

    # Runs.

    @property
    def all_tables(self) -> list[int]:
        """The numbers of all tables that the experiment table has rows for."""
        return sorted({experiment.table for experiment in self.experiments})

    def get_runs(self, tables: Collection[int]) -> list[RunId]:
        """The runs that these tables show, those of which they show nothing but costs included."""
        return runs_of(self.experiments, tables, self.config.seeds)

    def get_evaluated_runs(self, tables: Collection[int]) -> list[RunId]:
        """The runs that these tables show mIoU of."""
        return runs_of(self.experiments, tables, self.config.seeds, evaluated_only=True)

    def get_traced_runs(self) -> list[RunId]:
        """The evaluated runs of all tables whose alpha is followed in training."""
        runs = self.get_evaluated_runs(self.all_tables)
        return [run for run in runs if name_recipe(run) in self.config.traces.runs]

    def get_shown_runs(self) -> list[RunId]:
        """The runs whose predictions are drawn: of each target that with the subnetwork `ours`, or its first."""
        shown: dict[str, RunId] = {}
        for run in self.get_evaluated_runs(self.config.tables):
            best = (run.subnetwork, run.freeze) == SHOWN_RECIPE
            if run.seed == self.config.seeds[0] and (best or run.target not in shown):
                shown[run.target] = run
        return list(shown.values())

    # Figures.

    @property
    def result_figures(self) -> dict[str, str]:
        """The figures of mIoU, which are those of Table 1."""
        return RESULT_FIGURES if 1 in self.config.tables else {}

    @property
    def summary_figures(self) -> list[str]:
        """The figures beside the configuration's tables."""
        return [*self.result_figures, *SUBNETWORK_FIGURES, *TRAINING_FIGURES]

    @property
    def report_figures(self) -> list[str]:
        """The figures beside all tables."""
        return [*CLAIM_FIGURES, *self.summary_figures, *ALPHA_FIGURES, *IMAGE_FIGURES]

    # What is shared by all runs.

    @property
    def sets(self) -> list[tuple[str, str]]:
        """Data set and split of everything that is prepared: the training set and the benchmarks."""
        return list_sets(self.config)

    @property
    def set_names(self) -> list[str]:
        """The names of `sets` that their embeddings carry, such as ``coco_train``."""
        return [f"{dataset}_{split}" for dataset, split in self.sets]

    @property
    def prompts(self) -> list[str]:
        """The kinds of prompts that vocabularies are embedded with."""
        return sorted({SEARCH_PROMPTS, *(target.prompts for target in self.config.targets.values())})

    # What is made once in every world. Without names these are patterns for the workflow.

    @property
    def worlds(self) -> list[WorldId]:
        """The seeds that have a world and a teacher of their own; the first one, where all seeds share both."""
        return [WorldId(seed) for seed in (self.config.seeds if self.config.has_worlds else self.config.seeds[:1])]

    def get_world(self, names: SeedNames = WILDCARDS) -> list[Path]:
        """The mini world's manifest, where the data sets are the mini world's."""
        return [self.get_data(names).manifest] if uses_world(self.config) else []

    def get_training_set(self, names: SeedNames = WILDCARDS) -> list[Path]:
        """The files that stand for the prepared training set."""
        return self.get_data(names).prepared_files(*TRAINING_SET)

    def get_prepared(self, names: SeedNames = WILDCARDS) -> list[Path]:
        """The files that stand for all prepared data sets."""
        data = self.get_data(names)
        return [path for dataset, split in self.sets for path in data.prepared_files(dataset, split)]

    def get_vocabularies(self, names: SeedNames = WILDCARDS) -> list[Path]:
        """Every prepared vocabulary, in the order of `sets`."""
        return [self.get_data(names).vocabulary(dataset, split) for dataset, split in self.sets]

    def get_texts(self, names: SeedNames = WILDCARDS) -> list[Path]:
        """The embeddings of every vocabulary with every kind of prompts."""
        results = self.get_results(names)
        return [results.text(prompts, *part) for prompts in self.prompts for part in self.sets]

    @property
    def grounds(self) -> bool:
        """Whether the training of a run behind the configuration's tables grounds the nouns of captions."""
        return any(self.config.targets[run.target].grounding_weight for run in self.get_runs(self.config.tables))

    def get_nouns(self, names: SeedNames = WILDCARDS) -> list[Path]:
        """The nouns of the training images' captions, where one of these runs grounds them."""
        return [self.get_data(names).nouns] if self.grounds else []

    def get_noun_embeddings(self, names: SeedNames = WILDCARDS) -> list[Path]:
        """Their embeddings."""
        return [self.get_results(names).nouns] if self.grounds else []

    def get_profiled_text(self, names: TargetNames) -> Path:
        """The training vocabulary's embeddings in the world in which a target's costs are counted: the first."""
        results = self.get_results(self.worlds[0])
        return results.text(self.config.targets[names.target].prompts, *TRAINING_SET)

    # What a run is made from.

    def get_train_text(self, names: WarmUpNames) -> Path:
        """The training vocabulary's embeddings with the prompts of the target."""
        return self.get_results(names).text(self.config.targets[names.target].prompts, *TRAINING_SET)

    def get_grounding(self, names: WarmUpNames) -> list[Path]:
        """Nouns of the training images' captions and their embeddings, where the target's training grounds them."""
        if not self.config.targets[names.target].grounding_weight:
            return []
        return [self.get_data(names).nouns, self.get_results(names).nouns]

    def get_benchmark_text(self, names: WarmUpNames, benchmark: str) -> Path:
        """A benchmark's embeddings with the prompts of the target."""
        return self.get_results(names).text(self.config.targets[names.target].prompts, benchmark, "val")

    def get_benchmark_texts(self, names: WarmUpNames) -> list[Path]:
        """The embeddings of all benchmarks with the prompts of the target, in the configuration's order."""
        return [self.get_benchmark_text(names, benchmark) for benchmark in self.config.benchmarks]

    def get_shown_text(self, names: WarmUpNames) -> Path:
        """The embeddings of the benchmark of which predictions are drawn."""
        return self.get_benchmark_text(names, self.config.figures.benchmark)

    def get_match(self, names: SubnetworkNames) -> list[Path]:
        """The subnetwork whose layer densities a per-layer random mask copies."""
        match = self.config.subnetworks[names.subnetwork].match
        return [self.get_results(names).subnetwork(SubnetworkId(match, int(names.seed)))] if match else []

    def get_shared_warm_up(self, names: WarmUpNames) -> list[Path]:
        """The warm-up of all freezing runs of a target with a subnetwork, where the target has one."""
        warms_up = self.config.targets[names.target].training.warmup_iterations > 0
        return [self.get_results(names).warm_up(names)] if warms_up else []

    def get_warm_up(self, names: RunNames) -> list[Path]:
        """The warm-up that a run continues. One without freezing trains straight through the same iterations."""
        return self.get_shared_warm_up(names) if self._freezes(names.freeze) else []

    def get_fitted_weights(self, names: WarmUpNames) -> Path:
        """The weights that alpha is fitted to: after the warm-up, or the subnetwork's where there is none."""
        return (self.get_shared_warm_up(names) or [self.get_results(names).subnetwork(names)])[0]

    def get_weights_prefix(self, names: WarmUpNames) -> str:
        """Where the backbone's weights lie in `get_fitted_weights`."""
        return "model.backbone." if self.get_shared_warm_up(names) else "weight."

    def get_fitted_subnetwork(self, names: FitNames) -> list[Path]:
        """The subnetwork, which holds the removed weights, where alpha is that of the weights before the mask."""
        return self._get_removed_weights(names, names.fitted)

    def get_traced_subnetwork(self, names: SubnetworkNames) -> list[Path]:
        """The same for traces of alpha."""
        return self._get_removed_weights(names, self.config.traces.weights)

    def _get_removed_weights(self, names: SubnetworkNames, weights: str) -> list[Path]:
        return [self.get_results(names).subnetwork(names)] if weights == "before_mask" else []

    def get_fit(self, names: RunNames) -> Path:
        """The fits that a freeze plan chooses by; recipes with the same estimator and weights share them."""
        recipe = self.config.freezing[names.freeze]
        return self.get_results(names).fit(names, recipe.weights, recipe.estimator)

    def get_plan(self, names: RunNames) -> list[Path]:
        """The freeze plan of a run, where it freezes."""
        return [self.get_results(names).freeze_plan(names)] if self._freezes(names.freeze) else []

    def is_traced(self, names: RunNames) -> bool:
        """Whether alpha of a run is followed in training."""
        return name_recipe(names) in self.config.traces.runs

    def is_warm_up_traced(self, names: WarmUpNames) -> bool:
        """Whether a run that continues this warm-up is traced."""
        continuing = [freeze for freeze in self.config.freezing if self._freezes(freeze)]
        return any(
            self.is_traced(RunId(names.target, names.subnetwork, freeze, int(names.seed))) for freeze in continuing
        )

    def _freezes(self, freeze: str) -> bool:
        return self.config.freezing[freeze].method != "none"

    # What tables, figures and reports need.

    def get_subnetworks(self) -> list[Path]:
        """The subnetworks behind the configuration's tables, sorted."""
        return sorted({self.get_results(run).subnetwork(run) for run in self.get_runs(self.config.tables)}, key=str)

    def get_freeze_plans(self) -> list[Path]:
        """The freeze plans behind them; costs count them for runs that are not evaluated, too."""
        return [path for run in self.get_runs(self.config.tables) for path in self.get_plan(run)]

    def get_checkpoints(self) -> list[Path]:
        """The finished runs behind them."""
        return [self.get_results(run).checkpoint(run) for run in self.get_evaluated_runs(self.config.tables)]

    def get_evaluations(self, tables: Collection[int]) -> list[Path]:
        """The metrics that these tables need, on every benchmark."""
        runs, benchmarks = self.get_evaluated_runs(tables), self.config.benchmarks
        return [self.get_results(run).evaluation(benchmark, run) for run in runs for benchmark in benchmarks]

    def get_costs(self, tables: Collection[int]) -> list[Path]:
        """The costs that these tables need; a target that is pruned while it trains has none (its density changes)."""
        runs = [run for run in self.get_runs(tables) if self.config.subnetworks[run.subnetwork].method != "joint"]
        return [self.get_results(run).costs(run) for run in runs]

    def get_comparisons(self, tables: Iterable[int]) -> list[Path]:
        """The comparisons of backbones with CLIP, where one of these tables shows them."""
        shown = [number for number in tables if number in COMPARING_TABLES]
        return [self.get_results(run).cka(run) for run in self.get_runs(shown)]

    def get_rounds(self, tables: Collection[int]) -> list[Path]:
        """The courses of the searches behind the evaluated runs of these tables."""
        return [self.get_results(subnetwork).rounds(subnetwork) for subnetwork in self._get_searched(tables)]

    def get_layers(self, tables: Collection[int]) -> list[Path]:
        """The densities of the layers of the same subnetworks."""
        return [self.get_results(subnetwork).layers(subnetwork) for subnetwork in self._get_searched(tables)]

    def _get_searched(self, tables: Collection[int]) -> list[SubnetworkId]:
        runs = self.get_evaluated_runs(tables)
        return list(dict.fromkeys(SubnetworkId(run.subnetwork, run.seed) for run in runs))

    def get_training_logs(self, tables: Collection[int]) -> list[Path]:
        """The training logs of the evaluated runs of these tables."""
        return [self.get_results(run).training_log(run) for run in self.get_evaluated_runs(tables)]

    def get_counted_rounds(self, tables: Iterable[int]) -> list[Path]:
        """The courses of the searches, where one of these tables counts iterations."""
        return self.get_rounds([number for number in tables if number in COUNTING_TABLES])

    def get_counted_logs(self, tables: Iterable[int]) -> list[Path]:
        """The training logs, where one of these tables counts iterations."""
        return self.get_training_logs([number for number in tables if number in COUNTING_TABLES])

    def get_traces(self) -> list[Path]:
        """Alpha in training, of every traced run."""
        return [self.get_results(run).alphas(run) for run in self.get_traced_runs()]

    def get_predictions(self) -> list[Path]:
        """The predictions that are drawn."""
        return [self.get_results(run).prediction(self.config.figures.benchmark, run) for run in self.get_shown_runs()]

    def get_job_folders(self) -> list[str]:
        """The folders of the time and memory of every job: the profile's, and those of the seeds' worlds."""
        layouts = [self.results, *(self.get_results(names) for names in self.worlds)]
        return list(dict.fromkeys(str(layout.jobs) for layout in layouts))

    def get_shown_data(self) -> list[Path]:
        """The files that stand for the prepared benchmark whose images are drawn."""
        shown = self.get_shown_runs()
        return self.get_data(shown[0]).prepared_files(self.config.figures.benchmark, "val") if shown else []

    def get_tables(self, numbers: Iterable[int], kinds: Sequence[str] = TABLE_KINDS) -> list[Path]:
        """The files of these tables."""
        return [self.results.table(f"table{number}", kind) for number in numbers for kind in kinds]

    def get_figures(self, names: Iterable[str], kinds: Sequence[str] = FIGURE_KINDS) -> list[Path]:
        """The files of these figures."""
        return [self.results.figure(name, kind) for name in names for kind in kinds]
