"""Readers against arbitrary and mutated bytes: they read or raise `UserError`, within a bounded time."""

import json
import pickle
from datetime import timedelta
from io import BytesIO

import numpy as np
import pytest
import torch
from bad_inputs import HEADER, LINE, ROOT
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from opentrans.clip.regions import RegionEmbeddings
from opentrans.clip.text import TextEmbeddings
from opentrans.config import load_config
from opentrans.data.maps import get_size, read_packed_ids
from opentrans.data.prepared import PreparedDataset, Vocabulary, read_rgb
from opentrans.data.safe_pickle import read_pickle
from opentrans.data.source import read_lines
from opentrans.errors import UserError
from opentrans.experiments import read_experiments
from opentrans.freezing.plan import FIELDS, FreezePlan
from opentrans.provenance import read_record
from opentrans.pruning.subnetwork import Subnetwork
from opentrans.training.checkpoint import load_checkpoint

CONFIG = load_config([ROOT / "config/config.yaml"])


def encode(kind):
    stream = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)).save(stream, kind)
    return stream.getvalue()


TENSORS = {"mask.a": torch.ones(1, 1, 1, 1, dtype=torch.bool), "weight.a": torch.ones(1, 1, 1, 1)}
TENSORS |= {"embeddings": torch.ones(2, 3), "class_index": torch.tensor([0, 1])}
META = {"iteration": "3", "identity": "{}", "random": "{}", "kind": "class"}
ARTEFACT = save(TENSORS, {"opentrans": json.dumps(META)})
VOCABULARY = json.dumps({"dataset": "coco", "ignore": 255, "classes": [{"index": 0, "synonyms": ["cat", "猫"]}]})
PLAN = f"{','.join(FIELDS)}\na,1x1x1x1,1,2.5,0.1,0.2,yes,\n"
SHEET = "table,row,target,subnetwork,freeze,benchmarks,evaluate\n1,A,han,dense,none,all,yes\n"
INDEX = {"filename": ["a"], "objectnames": np.array(["x"], object), "n": np.arange(3)}
RECORD = {name: {} for name in ("verb", "code", "configuration_sha256", "arguments", "seed", "inputs", "outputs")}


def open_index(path):
    path.with_name("vocabulary.json").write_text(VOCABULARY)
    return PreparedDataset.open(path.rename(path.with_name("index.csv")).parent)


READERS = {
    "JPEG": (read_rgb, encode("JPEG")),
    "PNG": (read_rgb, encode("PNG")),
    "GIF": (read_rgb, encode("GIF")),
    "TIFF": (read_rgb, encode("TIFF")),
    "panoptic PNG": (read_packed_ids, encode("PNG")),
    "size of a picture": (lambda path: get_size(path.read_bytes(), path), encode("JPEG")),
    "vocabulary": (Vocabulary.read, VOCABULARY.encode()),
    "index": (open_index, f"{HEADER}\n{LINE}\n".encode()),
    "freeze plan": (FreezePlan.read, PLAN.encode()),
    "sheet": (lambda path: read_experiments(path, CONFIG), SHEET.encode()),
    "configuration": (lambda path: load_config([path]), (ROOT / "config/config.yaml").read_bytes()[:600]),
    "lines": (read_lines, b"a\nb\n"),
    "pickle": (read_pickle, pickle.dumps(INDEX, protocol=2)),
    "newer pickle": (read_pickle, pickle.dumps(INDEX, protocol=4)),
    "checkpoint": (load_checkpoint, ARTEFACT),
    "subnetwork": (Subnetwork.load, ARTEFACT),
    "text embeddings": (TextEmbeddings.load, ARTEFACT),
    "region embeddings": (RegionEmbeddings.load, ARTEFACT),
    "provenance record": (read_record, json.dumps(RECORD | {"versions": {}, "hardware": {}}).encode()),
}


@st.composite
def mutations(draw, content):
    """`content` with some bytes changed, cut out or repeated; or any bytes at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(changed) - 1)))
        kind = draw(st.sampled_from(["set", "cut", "insert", "repeat"]))
        if kind == "set" and changed:
            changed[place] = draw(st.integers(0, 255))
        elif kind == "cut":
            del changed[place : place + draw(st.integers(1, 30))]
        elif kind == "insert":
            changed[place:place] = draw(st.binary(min_size=1, max_size=8))
        else:
            changed[place:place] = changed[place : place + 40]
    return bytes(changed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_a_reader_reads_or_says_in_one_line_what_is_wrong(name, tmp_path_factory):
    read, content = READERS[name]
    folder = tmp_path_factory.mktemp("fuzz")

    @settings(
        max_examples=250,
        deadline=timedelta(seconds=20),
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutations(content))
    @example(content)
    @example(b"")
    def check(mutated):
        (folder / "input").write_bytes(mutated)
        message = ""
        try:
            read(folder / "input")
        except UserError as error:
            message = str(error)
        assert "\n" not in message

    check()
