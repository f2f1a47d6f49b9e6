"""Targets by name: a module ``opentrans.models.<kind>`` registers its class under `kind`."""

import importlib
from collections.abc import Callable

from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipSource
from opentrans.config import TargetConfig
from opentrans.models.target import Target

Builder = Callable[[TargetConfig, ClipSource, TextEmbeddings], Target]
BUILDERS: dict[str, Builder] = {}


def register(kind: str) -> Callable[[Builder], Builder]:
    """Class decorator: make a target known as `kind`."""

    def add(builder: Builder) -> Builder:
        BUILDERS[kind] = builder
        return builder

    return add


def build_target(settings: TargetConfig, teacher: ClipSource, train_text: TextEmbeddings) -> Target:
    """Build the target `settings.kind`, its backbone at the teacher's weights (dense).

    New weights come from torch's global generator: seed it before.

    Args:
        settings: sizes and kind.
        teacher: where the backbone (and FC-CLIP's attention pool) comes from; it is not kept.
        train_text: the training vocabulary; region classes and labels index its classes.
    """
    importlib.import_module(f"opentrans.models.{settings.kind}")
    return BUILDERS[settings.kind](settings, teacher, train_text)
