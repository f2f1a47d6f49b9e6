from functools import cache

import pytest

from builders import ROOT, write_results
from opentrans.config import load_config
from opentrans.runs.table import read_experiments

CONFIG = ROOT / "config"


@pytest.fixture(scope="session")
def config():
    return load_config([CONFIG / "mini.yaml"])


@pytest.fixture(scope="session")
def experiments(config):
    return read_experiments(CONFIG / "experiments.csv", config)


@pytest.fixture(scope="session")
def paper_path():
    return CONFIG / "paper_results.csv"


@pytest.fixture(scope="session")
def make_files(tmp_path_factory, config, experiments):
    """Evaluations and costs of all runs with these seeds; written once, and left as they are."""

    @cache
    def write(*seeds):
        return write_results(tmp_path_factory.mktemp("results"), config, experiments, seeds)

    return lambda seeds: write(*seeds)
