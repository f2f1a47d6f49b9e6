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


@pytest.fixture
def make_files(tmp_path, config, experiments):
    return lambda seeds: write_results(tmp_path, config, experiments, seeds)
