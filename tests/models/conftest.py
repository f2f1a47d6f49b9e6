from typing import Any

import pytest
import torch
from model_samples import CLASSES, make_settings

from builders import build_teacher, draw_directions
from opentrans.clip.text import TextEmbeddings
from opentrans.models.registry import build_target


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def teacher():
    return build_teacher(1)


@pytest.fixture(scope="session")
def text():
    return TextEmbeddings(draw_directions(CLASSES, 2), torch.arange(CLASSES))


@pytest.fixture
def make_target(teacher, text):
    def make(kind: str, **changes: Any):
        torch.manual_seed(3)
        return build_target(make_settings(kind, **changes), teacher, text)

    return make
