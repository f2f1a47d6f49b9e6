"""Whether loading hides behind training at the paper's sizes, read off a torch.profiler trace.

Images of COCO (or of its size), CLIP RN50's shapes with random weights, 512 x 512 crops, a batch that a CPU can
take. Nothing is cached: COCO does not fit into memory either. The trace is kept, cut down to its two spans a step.
"""

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.bench_preparation import copy_samples, has_samples, make_download
from benchmarks.gpu_training import make_training
from opentrans.clip.pretraining import make_teacher
from opentrans.clip.region_embeddings import RegionEmbeddings
from opentrans.clip.teacher import get_architecture
from opentrans.config import Config, TrainingConfig, load_config
from opentrans.costs.true_size import random_text
from opentrans.data.prepare import prepare
from opentrans.data.prepared import PreparedDataset
from opentrans.models.registry import build_target
from opentrans.pruning.masks import dense_masks
from opentrans.system.files import write_json
from opentrans.training.data import CropSettings, TrainingData

ROOT = Path(__file__).parent.parent
TRACES = ROOT / "benchmarks/results/traces"
IMAGES, BATCH, STEPS, WORKERS, GOAL = 24, 2, 2, 1, 0.95
WAIT, COMPUTE = "wait for data", "training step"


class Uncached(TrainingData):
    """Every image is read and decoded each time."""

    _caches = False


def make_data(config: Config, settings: TrainingConfig, dimension: int) -> TrainingData:
    """Prepared images whose regions have random embeddings."""
    (root,) = copy_samples(IMAGES) if has_samples() else make_download(IMAGES, 10, 480, 640)
    folder = Path(tempfile.mkdtemp(dir=root)) / "val"
    kind = config.data.regions
    with redirect_stderr(StringIO()):
        data = config.data.model_copy(update={"raw_root": str(root), "folders": {}, "allow_subset": True})
        prepare("coco", "val", data, folder)
    dataset = PreparedDataset.open(folder)

    # Region numbers as the data set has them, vectors at random: loading does not look into them.
    numbers = [np.unique(found[found > 0]) for found in map(dataset.segments, range(len(dataset))) if found is not None]
    record = torch.arange(len(numbers)).repeat_interleave(torch.tensor([len(found) for found in numbers]))
    region = torch.from_numpy(np.concatenate(numbers).astype(np.int64))
    vectors = F.normalize(torch.randn(len(region), dimension, generator=torch.Generator().manual_seed(0)), dim=-1)
    embeddings = RegionEmbeddings(vectors, record, region, torch.zeros_like(region), kind, "crop", len(dataset))

    crop = CropSettings(settings.crop_size, settings.scale_range)
    return Uncached(dataset, embeddings, crop, kind, config.data.min_region_pixels, 0)


def trace_steps(name: str, config: Config) -> tuple[list[dict], float, float]:
    """The spans of `STEPS` steps after a first one, seconds to make one example, regions of an example."""
    settings = config.targets[name]
    update = {"batch_size": BATCH, "micro_batch_size": BATCH, "precision": "float32"}
    training = settings.training.model_copy(update=update)
    teacher = make_teacher(get_architecture(config.teacher.architecture), 0)
    torch.manual_seed(0)
    target = build_target(settings, teacher, random_text(133, teacher.embed_dim))
    data = make_data(config, training, teacher.embed_dim)

    start = time.process_time()
    regions = [len(data.get_example(position).regions.classes) for position in range(IMAGES)]
    seconds = (time.process_time() - start) / IMAGES

    stepper, step = make_training(target, training, data, dense_masks(target.backbone))
    loaded = stepper.load(range(STEPS + 1), WORKERS)
    step(0, next(loaded))
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for number in range(1, STEPS + 1):
            with record_function(WAIT):
                examples = next(loaded)
            with record_function(COMPUTE):
                step(number, examples)

    with tempfile.TemporaryDirectory() as folder:
        profiler.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(folder, "trace.json").read_text())["traceEvents"]
    spans = [{key: event[key] for key in ("name", "ph", "ts", "dur", "pid", "tid")} for event in events
             if event.get("cat") == "user_annotation" and event["name"] in (WAIT, COMPUTE)]  # fmt: skip
    return spans, seconds, float(np.mean(regions))


@pytest.mark.parametrize("name", ["han", "deeplabv3", "fcclip"])
def bench_loading(record: Callable[..., None], name: str) -> None:
    """Share of a step's time that is compute."""
    torch.set_num_threads(2)
    config = load_config([ROOT / "config/paper.yaml"])
    spans, example, regions = trace_steps(name, config)
    origin = min(span["ts"] for span in spans)
    spans = [span | {"ts": round(span["ts"] - origin), "pid": 0, "tid": 0} for span in spans]
    write_json(TRACES / f"loading_{name}.json", {"traceEvents": spans})

    wait, compute = (sum(span["dur"] for span in spans if span["name"] == kind) / 1e6 for kind in (WAIT, COMPUTE))
    assert len(spans) == 2 * STEPS
    share, settings = compute / (wait + compute), config.targets[name].training
    group = settings.micro_batch_size or settings.batch_size

    row = {
        "target": name, "steps traced": STEPS, "batch": BATCH, "loader processes": WORKERS,
        "waiting, ms a step": f"{1000 * wait / STEPS:.1f}", "computing, ms a step": f"{1000 * compute / STEPS:.0f}",
        "share that is compute": f"{share:.2%}", "one example made in, CPU ms": f"{1000 * example:.1f}",
        "regions of an example": f"{regions:.1f}",
        f"step of a GPU ({group} images) from which {config.workers} loader processes hide it, ms":
            f"{1000 * example * group / config.workers:.0f}",
    }  # fmt: skip

    goal = {"goal": f"Share of a training step that is compute, {name}, 512 x 512, RN50, {WORKERS} loader process: "
                    f"at least {GOAL:.0%}", "reached": share >= GOAL, "value": f"{share:.2%}"}  # fmt: skip
    source = "of val2017 (copies of a few)" if has_samples() else "drawn from a seed"
    record(name, {"title": f"Data loading, {name}, images {source}", "rows": [row], "goals": [goal]})
