import pytest

from builders import ROOT
from opentrans.config import load_config
from opentrans.runs.table import read_experiments


@pytest.fixture(scope="session")
def config():
    return load_config([ROOT / "config/mini.yaml"])


@pytest.fixture(scope="session")
def experiments(config):
    return read_experiments(ROOT / "config/experiments.csv", config)
