from typing import Any

import pytest
import torch
from model_samples import ARCHITECTURE, CLASSES, make_settings
from torch.nn import functional as F

from opentrans.clip.teacher import Teacher
from opentrans.clip.text import TextEmbeddings
from opentrans.models.registry import build_target


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def teacher():
    torch.manual_seed(1)
    return Teacher(ARCHITECTURE)


@pytest.fixture(scope="session")
def text():
    directions = torch.randn(CLASSES, 32, generator=torch.Generator().manual_seed(2))
    return TextEmbeddings(F.normalize(directions, dim=-1), torch.arange(CLASSES))


@pytest.fixture
def make_target(teacher, text):
    def make(kind: str, **changes: Any):
        torch.manual_seed(3)
        return build_target(make_settings(kind, **changes), teacher, text)

    return make
