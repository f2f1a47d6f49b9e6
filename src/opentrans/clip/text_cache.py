"""Text embeddings made once: kept by the hash of everything that they depend on, for all jobs of a user."""

import hashlib
import inspect
import json
import logging
from functools import cached_property
from pathlib import Path

import torch

from opentrans.clip.text import PromptCache, TextEmbeddings, embed_vocabulary
from opentrans.data.prepared import Vocabulary
from opentrans.errors import UserError
from opentrans.system.device import select_device
from opentrans.system.files import get_cache_folder, sha256

_logger = logging.getLogger(__name__)


class TextEmbedder:
    """Embeds vocabularies with a teacher that is loaded only if one of them is new.

    The key of an entry hashes the teacher's file, the class names in order, the templates, how they are embedded, and
    what rounding depends on (torch, kind of device, threads). Entries are written under a temporary name and renamed,
    so jobs may share the folder; a damaged entry is recreated, and a folder that cannot be written to costs a
    warning.
    """

    def __init__(self, teacher: Path, device: str = "cpu", folder: Path | None = None) -> None:
        """`teacher` is its artefact, `device` the configuration's, `folder` by default the user's cache."""
        self.path, self.device_name = teacher, device
        self.folder = folder or get_cache_folder("text")

    @cached_property
    def _teacher(self) -> PromptCache:
        from opentrans.clip.teacher import Teacher

        return PromptCache(Teacher.load(self.path).to(self._device))

    @cached_property
    def _device(self) -> torch.device:
        return select_device(self.device_name)

    @cached_property
    def _teacher_digest(self) -> str:
        if not self.path.is_file():
            raise UserError(self.path, "no such file", "make the teacher first (train-teacher or import-teacher)")
        return sha256(self.path)

    def embed(self, vocabulary: Vocabulary, templates: list[str] | None) -> TextEmbeddings:
        """`embed_vocabulary`, or what it gave the last time; tensors on the CPU."""
        entry = self.folder / f"{self.get_key(vocabulary, templates)}.safetensors"
        if entry.exists():
            try:
                return TextEmbeddings.load(entry)
            except UserError as error:
                _logger.warning("%s; recreated", error)

        embedded = embed_vocabulary(self._teacher, vocabulary, templates).to(torch.device("cpu"))
        try:
            embedded.save(entry)
        except (OSError, UserError) as error:
            _logger.warning("%s: text embeddings are not kept (%s)", self.folder, error)
        return embedded

    def get_key(self, vocabulary: Vocabulary, templates: list[str] | None) -> str:
        """The hash that an entry is found by."""
        content = {
            "code": inspect.getsource(embed_vocabulary),
            "teacher": self._teacher_digest,
            "names": vocabulary.names,
            "templates": templates,
            "torch": torch.__version__,
            "device": self._device.type,
            "threads": torch.get_num_threads() if self._device.type == "cpu" else 0,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
