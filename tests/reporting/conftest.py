from pathlib import Path

import pytest

from opentrans.config import load_config
from opentrans.runs.table import RunId, read_experiments, runs_of
from opentrans.system.files import write_json

CONFIG = Path(__file__).parents[2] / "config"
SCORES = {"dense": 40.0, "distilled": 39.0, "ours": 35.0, "random": 20.0}


@pytest.fixture(scope="session")
def config():
    return load_config([CONFIG / "mini.yaml"])


@pytest.fixture(scope="session")
def experiments(config):
    return read_experiments(CONFIG / "experiments.csv", config)


@pytest.fixture(scope="session")
def paper_path():
    return CONFIG / "paper_results.csv"


def _write_evaluation(path, run: RunId, benchmark, miou):
    identity = {"target": run.target, "subnetwork": run.subnetwork, "freeze": run.freeze, "seed": run.seed}
    protocol = {"denominator": "present", "prompts": "plain"}
    values = {"present": miou, "union": miou - 1}
    write_json(path, {**identity, "benchmark": benchmark, "images": 60, "protocol": protocol, "miou": values})
    return path


def _write_costs(path, run: RunId, params=2e6, flops=3e9, training_flops=5e12, density=0.1):
    identity = {"target": run.target, "subnetwork": run.subnetwork, "freeze": run.freeze, "seed": run.seed}
    costs = {"params": params, "flops": flops, "training_flops": training_flops, "density": density}
    write_json(path, {**identity, **costs})
    return path


@pytest.fixture
def write_evaluation():
    return _write_evaluation


@pytest.fixture
def write_costs():
    return _write_costs


@pytest.fixture
def make_files(tmp_path, config, experiments):
    """Synthetic evaluations (score of the subnetwork + index of the benchmark + seed) and costs of all runs."""

    def make(seeds):
        evaluations, costs = [], []
        for number, run in enumerate(runs_of(experiments, range(1, 11), seeds)):
            costs.append(_write_costs(tmp_path / f"costs{number}.json", run))
            for index, benchmark in enumerate(config.benchmarks):
                path = tmp_path / f"{number}_{benchmark}.json"
                evaluations.append(
                    _write_evaluation(path, run, benchmark, SCORES.get(run.subnetwork, 30.0) + index + run.seed)
                )
        return evaluations, costs

    return make
