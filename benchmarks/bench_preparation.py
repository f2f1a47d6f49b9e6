"""COCO panoptic to label maps: our preparation against the customary loop over segments, on the same files."""

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import zoom

from opentrans.config import DataConfig
from opentrans.data.prepare import prepare

SAMPLES = "OPENTRANS_COCO"  # a folder that holds coco/ in official layout: measured too, where it is named


@cache
def make_download(images: int, segments: int, height: int, width: int) -> tuple[Path]:
    """``coco/`` in official layout: images of noise, segments with ragged borders, ids of three bytes."""
    root = Path(tempfile.mkdtemp(prefix="opentrans-coco-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    for name in ("annotations", "val2017", "panoptic_val2017"):
        (root / "coco" / name).mkdir(parents=True)

    generator = np.random.default_rng(5)
    categories = [{"id": index, "name": f"class {index}"} for index in range(1, 134)]
    listed, annotations = [], []
    for number in range(images):
        stem = f"{number:012d}"
        fields = [zoom(generator.normal(size=(10, 13)), (height / 10, width / 13), order=1) for _ in range(segments)]
        ragged = np.stack(fields) + 0.04 * generator.normal(size=(segments, 1, width))
        place = ragged.argmax(0)

        codes = generator.choice(2**24 - 1, segments, replace=False).astype(np.uint32) + 1
        kinds = generator.integers(1, 134, segments)
        ids = codes[place]
        coded = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)
        Image.fromarray(coded).save(root / f"coco/panoptic_val2017/{stem}.png")

        noise = generator.integers(0, 256, (height // 4, width // 4, 3), np.uint8)
        Image.fromarray(noise).resize((width, height)).save(root / f"coco/val2017/{stem}.jpg", quality=92)

        info = [{"id": int(codes[i]), "category_id": int(kinds[i]), "area": int((place == i).sum()), "iscrowd": 0}
                for i in np.unique(place)]  # fmt: skip
        listed.append({"id": number, "file_name": f"{stem}.jpg", "height": height, "width": width})
        annotations.append({"image_id": number, "file_name": f"{stem}.png", "segments_info": info})

    content = {"images": listed, "annotations": annotations, "categories": categories}
    (root / "coco/annotations/panoptic_val2017.json").write_text(json.dumps(content))
    return (root,)


def has_samples() -> bool:
    """Whether a folder with images of COCO itself is named."""
    return SAMPLES in os.environ


@cache
def copy_samples(images: int) -> tuple[Path]:
    """The images of a folder in official layout, each several times under new names."""
    source, root = Path(os.environ[SAMPLES]) / "coco", Path(tempfile.mkdtemp(prefix="opentrans-coco-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    content = json.loads((source / "annotations/panoptic_val2017.json").read_text())

    files = {image["id"]: image for image in content["images"]}
    listed, annotations = [], []
    for name in ("annotations", "val2017", "panoptic_val2017"):
        (root / "coco" / name).mkdir(parents=True)

    for number in range(images):
        entry = content["annotations"][number % len(content["annotations"])]
        stem, image = f"{number:012d}", files[entry["image_id"]]
        shutil.copy(source / "val2017" / image["file_name"], root / f"coco/val2017/{stem}.jpg")
        shutil.copy(source / "panoptic_val2017" / entry["file_name"], root / f"coco/panoptic_val2017/{stem}.png")
        listed.append(image | {"id": number, "file_name": f"{stem}.jpg"})
        annotations.append(entry | {"image_id": number, "file_name": f"{stem}.png"})

    text = json.dumps(content | {"images": listed, "annotations": annotations})
    (root / "coco/annotations/panoptic_val2017.json").write_text(text)
    return (root,)


def _prepare(root: Path, workers: int) -> Path:
    folder = Path(tempfile.mkdtemp(dir=root)) / "val"
    with redirect_stderr(StringIO()):
        prepare("coco", "val", DataConfig(raw_root=str(root), allow_subset=True), folder, workers)
    return folder / "labels"


def ours_one_process(root: Path) -> Path:
    """opentrans, one process: label maps, hashes, checks, journal, statistics"""
    return _prepare(root, 1)


def ours_two_processes(root: Path) -> Path:
    """opentrans, two processes: label maps, hashes, checks, journal, statistics"""
    return _prepare(root, 2)


def customary(root: Path) -> Path:
    """customary loop, one process: PNG to ids, one mask a segment, label map only (Mask2Former's script)"""
    folder = Path(tempfile.mkdtemp(dir=root))
    content = json.loads((root / "coco/annotations/panoptic_val2017.json").read_text())
    classes = {category["id"]: index for index, category in enumerate(content["categories"])}

    for entry in content["annotations"]:
        with Image.open(root / "coco/panoptic_val2017" / entry["file_name"]) as opened:
            colours = np.asarray(opened, dtype=np.uint32)
        ids = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
        labels = np.full(ids.shape, 255, np.uint8)

        for segment in entry["segments_info"]:
            labels[ids == segment["id"]] = classes[segment["category_id"]]
        Image.fromarray(labels).save(folder / entry["file_name"])
    return folder


def equal(ours: Path, theirs: Path) -> dict[str, float]:
    """Every label map has the same values."""
    names = sorted(path.name for path in theirs.iterdir())
    assert [path.name for path in sorted(ours.iterdir())] == names
    for name in names:
        np.testing.assert_array_equal(np.asarray(Image.open(ours / name)), np.asarray(Image.open(theirs / name)))
    return {"equal label maps": len(names)}


CASES = [(2, ours_two_processes, {"speed": 5}), (1, ours_one_process, {})]
IMAGES = 400


@pytest.mark.parametrize(("processes", "ours", "goal"), CASES)
def bench_synthetic(
    versus: Callable[..., Any], processes: int, ours: Callable[[Path], Path], goal: dict[str, float]
) -> None:
    """Images of COCO's size with ten segments."""
    setting = {"images": IMAGES, "segments": 10, "height": 480, "width": 640}
    versus(f"synthetic, {processes} processes", f"COCO panoptic to label maps, {IMAGES} synthetic images, 640 x 480",
           make_download, ours, [customary], setting, equal, goal, threads=1, processes=processes)  # fmt: skip


@pytest.mark.skipif(not has_samples(), reason=f"{SAMPLES} names no folder with coco/")
@pytest.mark.parametrize(("processes", "ours", "goal"), CASES)
def bench_real(
    versus: Callable[..., Any], processes: int, ours: Callable[[Path], Path], goal: dict[str, float]
) -> None:
    """Images of COCO itself."""
    versus(f"real, {processes} processes",
           f"COCO panoptic to label maps, images of val2017 ({IMAGES} copies of a few)", copy_samples, ours,
           [customary], {"images": IMAGES}, equal, goal, threads=1, processes=processes)  # fmt: skip
