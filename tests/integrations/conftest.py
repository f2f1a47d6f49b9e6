import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from host_samples import make_host, make_subnetwork


@pytest.fixture
def host():
    return make_host()


@pytest.fixture(scope="session")
def subnetwork():
    return make_subnetwork()
