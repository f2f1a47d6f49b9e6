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

from builders import SMALL
from opentrans.clip.captions import CaptionedNames, read_images
from opentrans.clip.region_embeddings import RegionEmbeddings
from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipWeights
from opentrans.config import DataConfig, load_config
from opentrans.costs.tables import PROFILE_FIELDS, read_densities, read_profile
from opentrans.data.journal import Journal
from opentrans.data.maps import get_size, read_packed_ids
from opentrans.data.prepared import PreparedDataset, Vocabulary, read_rgb
from opentrans.data.sources.base import read_lines
from opentrans.data.sources.cityscapes import _read_labels
from opentrans.data.sources.coco import CocoPanoptic
from opentrans.data.sources.detail import read_detail
from opentrans.data.sources.safe_pickle import read_pickle
from opentrans.errors import UserError
from opentrans.freezing.fits import read_fits
from opentrans.freezing.plan import PLAN_FIELDS, FreezePlan
from opentrans.integrations.fcclip import read_detectron2
from opentrans.integrations.named_model import load_weights
from opentrans.prediction.images import read_image
from opentrans.prediction.words import parse_classes
from opentrans.pruning.subnetwork import Subnetwork
from opentrans.reporting.claims import CLAIM_FIELDS, read_claims
from opentrans.reporting.images import Predictions
from opentrans.reporting.jobs import read_costs_of_jobs
from opentrans.reporting.results import RESULT_FIELDS, collect_results, read_results
from opentrans.reporting.tidy import read_logs
from opentrans.runs.paper import read_paper
from opentrans.runs.provenance import read_record
from opentrans.runs.table import read_experiments
from opentrans.training.checkpoint import load_checkpoint
from tools.readme import ShownResults

CONFIG = load_config([ROOT / "config/mini.yaml"])


def encode(kind):
    stream = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)).save(stream, kind)
    return stream.getvalue()


TENSORS = {"mask.a": torch.ones(1, 1, 1, 1, dtype=torch.bool), "weight.a": torch.ones(1, 1, 1, 1)}
TENSORS |= {"embeddings": torch.ones(2, 3), "class_index": torch.tensor([0, 1])}
META = {"iteration": "3", "identity": "{}", "random": "{}", "kind": "class"}
ARTEFACT = save(TENSORS, {"opentrans": json.dumps(META)})
NAME = "layer1.0.conv1.weight"
WEIGHTS = {f"mask.{NAME}": torch.ones(1, 1, 1, 1, dtype=torch.bool), f"weight.{NAME}": torch.ones(1, 1, 1, 1)}
SUBNETWORK = save(WEIGHTS, {"opentrans": json.dumps({"method": "imp"})})
TEXT = save({name: TENSORS[name] for name in ("embeddings", "class_index")}, {"opentrans": "{}"})
ROWS = {name: torch.tensor([0, 1]) for name in ("record", "region", "class_index")}
REGION_META = {"regions": "class", "encoding": "crop", "records": "2"}
REGIONS = save({"embeddings": torch.ones(2, 3)} | ROWS, {"opentrans": json.dumps(REGION_META)})
SETTINGS = f"""{SMALL}
threads: {{run: 1, subnetwork: 1}}
teacher: {{architecture: RN50, pretrained: random, templates: ["{{}}"]}}
"""
TEACHER = save(TENSORS | {"logit_scale": torch.ones(())}, {"opentrans": json.dumps({"architecture": "{}"})})
EXPERIMENTS = read_experiments(ROOT / "config/experiments.csv", CONFIG)
VOCABULARY = json.dumps({"dataset": "coco", "ignore": 255, "classes": [{"index": 0, "synonyms": ["cat", "猫"]}]})
PLAN = f"{','.join(PLAN_FIELDS)}\na,1x1x1x1,1,2.5,0.1,0.2,yes,\n"
EXPERIMENT_TABLE = "id,table,row,target,subnetwork,freeze,benchmarks,evaluate\na,1,A,han,dense,none,all,yes\n"
INDEX = {"filename": ["a"], "objectnames": np.array(["x"], object), "n": np.arange(3)}
RECORD = {name: {} for name in ("command", "code", "configuration_sha256", "arguments", "seed", "inputs", "outputs")}


ALPHAS = "layer,shape,weights,alpha,fit_quality,xmin,eigenvalues,tail,note\na,2x2x1x1,4,2.5,0.1,0.2,2,2,\n"
PROFILE = f"{','.join(PROFILE_FIELDS)}\na,backbone,conv,4,16,48,yes\n"
CLAIM = "c,text,P,non-inferior,1.5,miou,coco pc59,t1_han_dense,t1_han_ours,,,,"
CLAIMS = f"{','.join(CLAIM_FIELDS)}\n{CLAIM}\n"
PAPER = "id,table,row,source,metric,value,unit\na,1,Dense,paper,params,46.0,M\n"
RUN = {"target": "han", "subnetwork": "dense", "freeze": "none", "seed": 0}
MIOU = {"official": 12.5, "present": 12.5, "union": 12.5}
EVALUATION = RUN | {"benchmark": "coco", "images": 4, "miou": MIOU}
EVALUATION |= {"protocol": {"denominator": "official", "prompts": "plain"}}
JOBS = "s\th:m:s\tmax_rss\tcpu_time\n1.5\t0:00:01\t100.0\t1.2\n"
COCO = {"categories": [{"id": 1, "name": "cat", "isthing": 1}], "images": [{"id": 3, "file_name": "000003.jpg"}]}
SEGMENT = {"id": 5, "category_id": 1, "area": 9, "iscrowd": 0, "bbox": [0, 0, 3, 3]}
COCO |= {"annotations": [{"image_id": 3, "file_name": "000003.png", "segments_info": [SEGMENT]}]}
PIXELS = {"size": [4, 4], "counts": "547"}
DETAIL = {"images": [{"image_id": 3, "file_name": "2008_000003.jpg", "phase": "val"}]}
DETAIL |= {"annos_segmentation": [{"image_id": 3, "category_id": 1, "segmentation": PIXELS}]}
DETAIL |= {"categories": [{"category_id": 1, "name": "cat"}]}
ENTRY = {"stamp": "a", "row": {"image_id": "1"}, "pixels": {"0": 4}, "files": {"labels/1.png": "0" * 64}}
CITYSCAPES = [{"name": "road", "id": 7, "trainId": 0}, {"name": "sky", "id": 8, "trainId": 1}]
LOGS = "iteration,lr,loss\n1,0.1,2.5\n2,0.1,2.4\n"
SHOWN = {"captions": {"a": "b"}, "figures": {}, "jobs": 3, "cpu_seconds": 1.5, "hardware": {}}


def move(path, name):
    """`path` under the name by which its reader knows it, the folder in which it then lies."""
    target = path.parent / name
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)
    return target


def open_index(path):
    path.with_name("vocabulary.json").write_text(VOCABULARY)
    return PreparedDataset.open(move(path, "index.csv").parent)


def open_label(path):
    (path.parent / "index.csv").write_text(f"{HEADER}\n1,1.png,input,,16,16,,\n")
    path.with_name("vocabulary.json").write_text(VOCABULARY)
    return PreparedDataset.open(path.parent).label(0)


def open_coco(path):
    root = move(path, "coco/annotations/panoptic_val2017.json").parents[1]
    for name in ("val2017/000003.jpg", "panoptic_val2017/000003.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    return CocoPanoptic(root, "val", DataConfig(raw_root=str(root)))


def read_captions(path):
    (path.parent / "a.png").write_bytes(encode("PNG"))
    return read_images(move(path, "captions.csv").parent, "train", 16)


def decode_detail(path):
    detail = read_detail(path, "val")
    return [detail.decode(stem, np.zeros(2, np.uint8), 255) for stem in detail.segments]


def read_journal(path):
    journal = Journal(move(path, "journal.jsonl").parent)
    try:
        return journal.read()
    finally:
        journal.close()


def encode_torch(content):
    stream = BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


LINEAR = encode_torch(torch.nn.Linear(1, 1).state_dict())


def encode_map():
    stream = BytesIO()
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def to_bytes(content):
    return json.dumps(content).encode()


READERS = {
    "JPEG": (read_rgb, encode("JPEG")),
    "PNG": (read_rgb, encode("PNG")),
    "GIF": (read_rgb, encode("GIF")),
    "TIFF": (read_rgb, encode("TIFF")),
    "panoptic PNG": (read_packed_ids, encode("PNG")),
    "size of an image": (lambda path: get_size(path.read_bytes(), path), encode("JPEG")),
    "vocabulary": (Vocabulary.read, VOCABULARY.encode()),
    "index": (open_index, f"{HEADER}\n{LINE}\n".encode()),
    "freeze plan": (FreezePlan.read, PLAN.encode()),
    "experiment table": (lambda path: read_experiments(path, CONFIG), EXPERIMENT_TABLE.encode()),
    "configuration": (lambda path: load_config([path]), SETTINGS.encode()),
    "lines": (read_lines, b"a\nb\n"),
    "pickle": (read_pickle, pickle.dumps(INDEX, protocol=2)),
    "newer pickle": (read_pickle, pickle.dumps(INDEX, protocol=4)),
    "checkpoint": (load_checkpoint, ARTEFACT),
    "subnetwork": (Subnetwork.load, SUBNETWORK),
    "text embeddings": (TextEmbeddings.load, TEXT),
    "region embeddings": (RegionEmbeddings.load, REGIONS),
    "provenance record": (read_record, to_bytes(RECORD | {"versions": {}, "hardware": {}})),
    "label map": (open_label, encode_map()),
    "image to predict": (read_image, encode("JPEG")),
    "words": (lambda path: parse_classes(f"@{path}"), b"cat|kitten\ndog\n"),
    "alphas": (read_fits, ALPHAS.encode()),
    "profile": (read_profile, PROFILE.encode()),
    "densities": (read_densities, b"layer,weights,kept\na,10,3\n"),
    "claims": (lambda path: read_claims(path, EXPERIMENTS), CLAIMS.encode()),
    "paper's values": (read_paper, PAPER.encode()),
    "results": (read_results, ",".join(RESULT_FIELDS).encode() + b"\nhan,dense,none,0,coco,present,1,1,1,4,plain\n"),
    "evaluation": (lambda path: collect_results([path]), to_bytes(EVALUATION)),
    "jobs": (lambda path: read_costs_of_jobs([move(path, "jobs/rule.tsv").parent]), JOBS.encode()),
    "training log": (lambda path: read_logs([move(path, "han/dense/none/seed0/log.csv")]), LOGS.encode()),
    "shown record": (lambda path: ShownResults.read(move(path, "record.json").parent), to_bytes(SHOWN)),
    "captioned names": (
        lambda path: CaptionedNames.read(move(path, "heldout.json").parent),
        to_bytes({"names": ["a", "b"], "heldout": ["b"]}),
    ),
    "captions": (
        read_captions,
        b"image,caption,split,kind,name\na.png,a cat,train,object,cat\n",
    ),
    "COCO panoptic": (open_coco, to_bytes(COCO)),
    "detailed annotations": (decode_detail, to_bytes(DETAIL)),
    "Cityscapes labels": (_read_labels, to_bytes(CITYSCAPES)),
    "journal": (read_journal, to_bytes(ENTRY) + b"\n"),
    "teacher": (ClipWeights.load, TEACHER),
    "predictions": (lambda path: Predictions.read(move(path, "han/dense/none/seed0/coco.safetensors")), ARTEFACT),
    "detectron2 checkpoint": (read_detectron2, encode_torch({"model": {"a.weight": torch.ones(2)}, "iteration": 3})),
    "weights of any model": (
        lambda path: load_weights(torch.nn.Linear(1, 1), path),
        LINEAR,
    ),
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
        max_examples=150,
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


@pytest.mark.parametrize("name", READERS)
def test_what_the_fuzzing_starts_from_is_read(name, tmp_path):
    """Else only the first check of a reader would meet the mutations."""
    read, content = READERS[name]
    (tmp_path / "input").write_bytes(content)
    read(tmp_path / "input")


# What a coverage-guided fuzzer (atheris) found in some seconds a reader, cut down to the fault.
FOUND = [
    ("COCO panoptic", to_bytes(COCO).replace(b'"id": 5', b'"id": 555555555555555555555')),
    ("COCO panoptic", to_bytes(COCO).replace(b'"cat"', b"7")),
    ("detailed annotations", to_bytes(DETAIL).replace(to_bytes(PIXELS), b"7")),
    ("detailed annotations", to_bytes(DETAIL).replace(b"[4, 4]", b"[4]")),
    ("paper's values", PAPER.replace("46.0", "<6.0").encode()),
    ("teacher", TEACHER.replace(b'\\"{}\\"', b'\\"{u\\"')),
]


@pytest.mark.parametrize(("name", "content"), FOUND)
def test_what_a_fuzzer_found_is_one_line(name, content, tmp_path):
    assert content != READERS[name][1]
    (tmp_path / "input").write_bytes(content)
    with pytest.raises(UserError):
        READERS[name][0](tmp_path / "input")
