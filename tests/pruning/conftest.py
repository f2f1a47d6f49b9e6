import pytest

from builders import build_teacher
from opentrans.clip.backbone import ClipBackbone


@pytest.fixture(scope="session")
def teacher():
    return build_teacher()


@pytest.fixture
def backbone(teacher):
    return ClipBackbone.of_teacher(teacher)
