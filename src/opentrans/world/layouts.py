"""Scenes written in the official layouts of COCO panoptic, Cityscapes, ADE20K-150 and PASCAL."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from opentrans.data.nouns import LEXICON_FILE
from opentrans.world.lexicon import CONCEPTS, NOUNS, VOCABULARIES, written_names
from opentrans.world.scenes import Scene

LayoutWriter = Callable[[Path, str, Iterable[Scene]], None]


def save_image(path: Path, pixels: np.ndarray, palette: bytes | None = None) -> None:
    """Write an image by the ending of its name: JPEG without colour subsampling, or PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = Image.fromarray(pixels)
    if palette is not None:
        drawn.putpalette(palette)
    if path.suffix == ".jpg":
        drawn.save(path, quality=95, subsampling=0)
    else:
        drawn.save(path, compress_level=1)


def save_text(path: Path, content: str) -> None:
    """Write text (no flush to disk: the world's manifest vouches for the whole)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def make_table(concepts: Sequence[int], values: Sequence[int], other: int) -> np.ndarray:
    """A lookup from concept to stored value; what is not listed, and unlabelled (-1, the last), is `other`."""
    table = np.full(CONCEPTS + 1, other, np.int32)
    table[list(concepts)] = values
    return table


def coco_category_id(index: int) -> int:
    """Category ids with gaps, as COCO's have."""
    return 1 + index + index // 7


def write_coco(root: Path, split: str, scenes: Iterable[Scene]) -> None:
    """``coco/``: images, panoptic PNG and JSON, captions. Objects in no vocabulary stay unlabelled."""
    vocabulary = VOCABULARIES["coco"]
    things = len(vocabulary.things)
    categories = [
        {"id": coco_category_id(index), "name": name, "isthing": int(index < things), "supercategory": "world"}
        for index, name in enumerate(written_names("coco"))
    ]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []

    for number, scene in enumerate(scenes, start=1):
        stem = f"{number:012d}"
        ids, segments = _coco_segments(scene, number)
        save_image(root / f"coco/{split}2017/{stem}.jpg", scene.image)
        coded = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
        save_image(root / f"coco/panoptic_{split}2017/{stem}.png", coded)

        height, width = ids.shape
        images.append({"id": number, "file_name": f"{stem}.jpg", "height": height, "width": width})
        annotations.append({"image_id": number, "file_name": f"{stem}.png", "segments_info": segments})
        captions.append({"image_id": number, "id": number, "caption": scene.caption})

    folder = root / "coco/annotations"
    panoptic = {"images": images, "annotations": annotations, "categories": categories}
    save_text(folder / f"panoptic_{split}2017.json", json.dumps(panoptic))
    save_text(folder / f"captions_{split}2017.json", json.dumps({"images": images, "annotations": captions}))
    save_text(folder / LEXICON_FILE, json.dumps(NOUNS))


def _coco_segments(scene: Scene, number: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Segment ids (height, width) that need all three bytes, and their descriptions."""
    index_of = {concept: index for index, concept in enumerate(VOCABULARIES["coco"].concepts)}
    ids = np.zeros(scene.concepts.shape, np.int32)
    segments = []
    for position, (concept, mask) in enumerate(scene.regions(), start=1):
        identifier = position * 65536 + number % 256 * 256 + concept
        ids[mask] = identifier

        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        segments.append(
            {
                "id": identifier,
                "category_id": coco_category_id(index_of[concept]),
                "area": int(mask.sum()),
                "bbox": [int(value) for value in box],
                "iscrowd": 0,
            }
        )
    return ids, segments


# The label ids that count in Cityscapes; the others (0..6 and so on) are void.
_CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def write_cityscapes(root: Path, split: str, scenes: Iterable[Scene]) -> None:
    """``cityscapes/``: images and labelIds; ``labels.json`` tells that ids mean this world's classes."""
    names = written_names("cityscapes")
    entries: list[dict[str, Any]] = [
        {"name": name, "id": identifier, "trainId": index}
        for index, (name, identifier) in enumerate(zip(names, _CITYSCAPES_IDS, strict=True))
    ]
    entries += [{"name": f"void {i}", "id": i, "trainId": 255} for i in range(34) if i not in _CITYSCAPES_IDS]
    entries.sort(key=lambda entry: entry["id"])
    save_text(root / "cityscapes/labels.json", json.dumps(entries, indent=1))

    table = make_table(VOCABULARIES["cityscapes"].concepts, _CITYSCAPES_IDS, 4).astype(np.uint8)
    for number, scene in enumerate(scenes):
        city = ("mintown", "newport")[number % 2]
        stem = f"{split}/{city}/{city}_{number:06d}_000019"
        save_image(root / f"cityscapes/leftImg8bit/{stem}_leftImg8bit.png", scene.image)
        save_image(root / f"cityscapes/gtFine/{stem}_gtFine_labelIds.png", table[scene.concepts])


def write_ade150(root: Path, split: str, scenes: Iterable[Scene]) -> None:
    """``ADEChallengeData2016/``: label 0 is anything else, class k is stored as k + 1."""
    names = written_names("ade150")
    rows = [f"{index}\t0.0\t0\t0\t{name}" for index, name in enumerate(names, start=1)]
    lines = ["Idx\tRatio\tTrain\tVal\tName", *rows]
    save_text(root / "ADEChallengeData2016/objectInfo150.txt", "\n".join(lines) + "\n")

    table = make_table(VOCABULARIES["ade150"].concepts, range(1, len(names) + 1), 0).astype(np.uint8)
    folder = {"train": "training", "val": "validation"}[split]
    for number, scene in enumerate(scenes, start=1):
        stem = f"{folder}/ADE_{split}_{number:08d}"
        save_image(root / f"ADEChallengeData2016/images/{stem}.jpg", scene.image)
        save_image(root / f"ADEChallengeData2016/annotations/{stem}.png", table[scene.concepts])


def voc_palette() -> bytes:
    """VOC's colour map: the bits of the index spread over red, green and blue, most significant first."""
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((np.arange(256) >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours.tobytes()


def write_voc2012(root: Path, split: str, scenes: Iterable[Scene]) -> None:
    """``VOCdevkit/VOC2012/``: palette PNGs, 0 background, 255 along the outlines; ``labels.txt`` names the classes."""
    folder = root / "VOCdevkit/VOC2012"
    names = written_names("pas20")
    save_text(folder / "labels.txt", "\n".join(names) + "\n")

    table = make_table(VOCABULARIES["pas20"].concepts, range(1, len(names) + 1), 0).astype(np.uint8)
    stems = []
    for number, scene in enumerate(scenes, start=1):
        stems.append(f"2012_{number:06d}")
        save_image(folder / f"JPEGImages/{stems[-1]}.jpg", scene.image)
        label = np.where(_outline(scene.objects), np.uint8(255), table[scene.concepts])
        save_image(folder / f"SegmentationClass/{stems[-1]}.png", label, voc_palette())

    save_text(folder / f"ImageSets/Segmentation/{split}.txt", "\n".join(stems) + "\n")


def _outline(objects: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbour belongs to another object."""
    outline = np.zeros(objects.shape, bool)
    outline[:, :-1] |= objects[:, :-1] != objects[:, 1:]
    outline[:-1] |= objects[:-1] != objects[1:]
    return outline


def write_pascal_context(root: Path, split: str, scenes: Iterable[Scene]) -> None:
    """``VOCdevkit/VOC2010/``: LabelMap files, ``labels.txt``, the ids of the narrow vocabulary, the split list."""
    folder = root / "VOCdevkit/VOC2010"
    concepts = VOCABULARIES["pc459"].concepts
    values = {concept: value for value, concept in enumerate(concepts, start=1)}
    lines = [f"{value}: {name}" for value, name in enumerate(written_names("pc459"), start=1)]
    save_text(folder / "labels.txt", "\n".join(lines) + "\n")

    narrow = sorted(values[concept] for concept in VOCABULARIES["pc59"].concepts)
    save_text(folder / "59_ids.txt", "\n".join(map(str, [0, *narrow])) + "\n")

    table = make_table(concepts, list(values.values()), 0).astype(np.uint16)
    stems = []
    for number, scene in enumerate(scenes, start=1):
        stems.append(f"2010_{number:06d}")
        save_image(folder / f"JPEGImages/{stems[-1]}.jpg", scene.image)
        _save_mat(folder / f"trainval/{stems[-1]}.mat", table[scene.concepts])

    save_text(folder / f"pascalcontext_{split}.txt", "\n".join(stems) + "\n")


def _save_mat(path: Path, label_map: np.ndarray) -> None:
    """A .mat file whose text header does not hold the time of writing (the first 116 bytes are free text)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"LabelMap": label_map}, do_compression=True)
    path.write_bytes(b"MATLAB 5.0 MAT-file, mini world".ljust(116) + path.read_bytes()[116:])
