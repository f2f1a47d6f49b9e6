import shutil
from pathlib import Path

import pytest

from builders import build_world_config
from opentrans.config import DataConfig
from opentrans.world.make import make_world


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world") / "root"
    changes = {"seed": 0, "caption_images": 4, "caption_image_size": 16}
    make_world(build_world_config().model_copy(update=changes), root)
    return root


@pytest.fixture
def raw(tiny_world: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_world, tmp_path / "raw", ignore=shutil.ignore_patterns("captions")))


@pytest.fixture
def config(raw: Path) -> DataConfig:
    return DataConfig(raw_root=str(raw))
