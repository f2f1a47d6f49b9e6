from pathlib import Path

import pytest

from builders import build_world_config
from opentrans.world.make import make_world


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world") / "root"
    make_world(build_world_config(), root)
    return root
