"""The prepared benchmarks in detectron2's catalogues."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from detectron2.data import DatasetCatalog, MetadataCatalog

from opentrans.config import Benchmark
from opentrans.data.prepared import PREPARE_AGAIN, PreparedDataset, Vocabulary
from opentrans.errors import UserError
from opentrans.runs.layout import VOCABULARY_FILE

_BENCHMARKS: tuple[str, ...] = get_args(Benchmark)


def register_benchmarks(
    prepared: Path | str,
    benchmarks: Sequence[str] = _BENCHMARKS,
    split: str = "val",
    class_names: Literal["first", "synonyms"] = "first",
) -> list[str]:
    """Register prepared data sets as ``opentrans_{benchmark}_{split}``, each for `SemSegEvaluator`.

    Labels are class indices already, so no id mapping is registered. Images are read when they are asked for.

    Args:
        prepared: the folder with ``{benchmark}/{split}`` in it (``data/{profile}/prepared``).
        benchmarks: which ones; all seven by default.
        split: ``val``, or ``train`` where it was prepared.
        class_names: ``stuff_classes`` as the first name of each class, or as all ``synonyms`` joined by commas, which
            FC-CLIP's text classifier takes apart again.

    Returns:
        The registered names.

    Raises:
        UserError: a data set is unknown or not prepared.
    """
    names = []
    for benchmark in benchmarks:
        if benchmark not in _BENCHMARKS:
            raise UserError(f"benchmark {benchmark!r}", "is unknown", f"take of {', '.join(_BENCHMARKS)}")

        folder = Path(prepared) / benchmark / split
        if not folder.is_dir():
            raise UserError(folder, "no such prepared data set", PREPARE_AGAIN)
        names.append(_register(f"opentrans_{benchmark}_{split}", folder, class_names))
    return names


def load_records(folder: Path) -> list[dict[str, Any]]:
    """The images of a prepared data set as detectron2's dictionaries."""
    return [
        {
            "file_name": str(record.image),
            "sem_seg_file_name": str(record.label),
            "height": record.height,
            "width": record.width,
            "image_id": record.image_id,
        }
        for record in PreparedDataset.open(folder).records
    ]


def _register(name: str, folder: Path, class_names: str) -> str:
    if name in DatasetCatalog.list():  # registered before, perhaps from another folder
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)

    vocabulary = Vocabulary.read(folder / VOCABULARY_FILE)
    titles = vocabulary.titles if class_names == "first" else [",".join(names) for names in vocabulary.names]
    DatasetCatalog.register(name, partial(load_records, folder))
    MetadataCatalog.get(name).set(
        stuff_classes=titles, ignore_label=vocabulary.ignore, evaluator_type="sem_seg", prepared=str(folder)
    )
    return name
