import shutil
from pathlib import Path

import pytest

from opentrans.config import DataConfig, WorldConfig
from opentrans.world.make import ADE847_SETS, SETS, make_world


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world") / "root"
    images = dict.fromkeys((*SETS, *ADE847_SETS), 3)
    make_world(WorldConfig(image_size=64, images=images, caption_images=4, caption_image_size=16), root)
    return root


@pytest.fixture
def raw(tiny_world: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_world, tmp_path / "raw", ignore=shutil.ignore_patterns("captions")))


@pytest.fixture
def config(raw: Path) -> DataConfig:
    return DataConfig(raw_root=str(raw))
