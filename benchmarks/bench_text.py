"""Text embeddings of a vocabulary: encoded by the first job, read from the cache by every later one."""

import atexit
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from opentrans.clip.pretraining import make_teacher
from opentrans.clip.teacher import Teacher, get_architecture
from opentrans.clip.text_cache import TextEmbedder
from opentrans.data.prepared import Vocabulary

CLASSES = 32


def bench_jobs(record: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three jobs with CLIP RN50's text encoder (random weights), a prompt a class."""
    torch.set_num_threads(2)
    folder = Path(tempfile.mkdtemp(prefix="opentrans-text-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    make_teacher(get_architecture("RN50"), 0).save(folder / "teacher.safetensors")
    vocabulary = Vocabulary("words", tuple((f"class number {index}",) for index in range(CLASSES)), 255)
    encoded, encode = [0], Teacher.encode_texts

    def count(teacher: Teacher, prompts: list[str], batch_size: int = 512) -> torch.Tensor:
        encoded[-1] += len(prompts)
        return encode(teacher, prompts, batch_size)

    monkeypatch.setattr(Teacher, "encode_texts", count)
    rows, found = [], []
    for number in (1, 2, 3):
        encoded.append(0)
        start = time.perf_counter()
        found.append(TextEmbedder(folder / "teacher.safetensors", folder=folder / "cache").embed(vocabulary, None))
        rows.append({"job": number, "prompts encoded": encoded[-1], "seconds": f"{time.perf_counter() - start:.2f}"})
    assert all(torch.equal(found[0].embeddings, other.embeddings) for other in found)
    later: list[Any] = [row["prompts encoded"] for row in rows[1:]]
    goal = {"goal": "Text embeddings: prompts that a later job encodes again, 0", "reached": not any(later),
            "value": f"{max(later)} of {CLASSES}"}  # fmt: skip
    record("jobs", {"title": f"Jobs that need the same vocabulary of {CLASSES} classes", "rows": rows, "goals": [goal]})
