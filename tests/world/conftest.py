from collections.abc import Callable
from pathlib import Path

import pytest

from opentrans.config import WorldConfig
from opentrans.world.make import ADE847_SETS, SETS, make_world


def make_tiny_config(seed: int = 3) -> WorldConfig:
    images = dict.fromkeys((*SETS, *ADE847_SETS), 3)
    return WorldConfig(seed=seed, image_size=64, images=images, caption_images=40, caption_image_size=32)


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., WorldConfig]:
    return make_tiny_config


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world") / "root"
    make_world(make_tiny_config(), root)
    return root
