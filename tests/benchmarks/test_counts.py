"""What the benchmarks measure, guarded by counts: operations, bytes and calls, of our way against the customary."""

import os
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import bench_evaluation, bench_gpu, bench_inference, bench_training
from builders import ARCHITECTURE
from opentrans.clip.backbone import ClipBackbone, get_convolutions
from opentrans.costs.layer_costs import count_convolutions
from opentrans.data.sources.coco import decode_ids
from opentrans.sparse.convolution import SparseConv
from opentrans.sparse.trunk import SparseTrunk, sparsify
from opentrans.training.data import Example, TrainingData
from opentrans.training.devices import split_batch
from opentrans.training.loading import load_steps


class Operations(TorchDispatchMode):
    """Counts operations, and remembers the bytes of the largest tensor that one returned."""

    def __init__(self):
        super().__init__()
        self.count = self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.count += 1
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.largest = max(self.largest, leaf.numel() * leaf.element_size())
        return result


def count(side, inputs):
    """Multiplications, operations, and bytes of the largest tensor."""
    with FlopCounterMode(display=False) as counter, Operations() as operations:
        side(*inputs)
    return counter.get_total_flops(), operations.count, operations.largest


@pytest.mark.parametrize(
    ("prepare", "ours", "customary", "operations", "memory"),
    [
        (bench_inference.masks, bench_inference.mask_tiles, bench_inference.mask_customary, 1 / 5, 1 / 5),
        (bench_inference.worst_masks, bench_inference.mask_tiles, bench_inference.mask_customary, 1.1, 1 / 5),
        (bench_inference.pixels, bench_inference.pixel_tiles, bench_inference.pixel_customary, 1.1, 1 / 5),
    ],
)
def test_inference_takes_few_operations_and_bytes_beside_the_customary(prepare, ours, customary, operations, memory):
    inputs = prepare(height=200, width=304, classes=847)
    mine, theirs = count(ours, inputs), count(customary, inputs)
    assert theirs[2] >= 4 * 847 * 200 * 304
    assert mine[0] <= operations * theirs[0]
    assert mine[2] <= memory * theirs[2]


@pytest.mark.parametrize("kind", ["masks", "pixels"])
def test_a_vocabulary_eight_times_as_large_takes_eight_times_the_work(kind):
    prepare, side = getattr(bench_inference, kind), getattr(bench_inference, f"{kind[:-1]}_tiles")
    few, many = (count(side, prepare(height=96, width=144, classes=classes))[0] for classes in (100, 800))
    assert 0 < many <= 8 * few


def test_a_sparse_trunk_multiplies_by_the_remaining_weights_only(monkeypatch):
    backbone = ClipBackbone(ARCHITECTURE).eval()
    for weight in get_convolutions(backbone).values():
        weight.data.mul_(torch.rand_like(weight) < 0.1)
    trunk = sparsify(backbone)
    if not isinstance(trunk, SparseTrunk):
        pytest.skip("no C++ compiler")
    done, call = [], SparseConv.__call__

    def watch(convolution, *args, **kwargs):
        maps = call(convolution, *args, **kwargs)
        done.append(len(convolution.weights) * maps.layout.height * maps.layout.width)
        return maps

    monkeypatch.setattr(SparseConv, "__call__", watch)
    trunk(torch.rand(1, 3, 64, 96))
    dense, weights = count_convolutions(backbone, 64, 96), get_convolutions(backbone)
    left = {name: dense[name] * int(weight.count_nonzero()) // weight.numel() for name, weight in weights.items()}
    assert sum(done) == sum(left.values())
    assert sum(done) < 0.12 * sum(dense.values())


def test_the_evaluator_holds_three_quarters_of_the_customary_bytes():
    images, classes = bench_evaluation.images(400, 600, 150, 1)
    peaks = []
    for side in (bench_evaluation.opentrans, bench_evaluation.detectron2_counting):
        tracemalloc.start()
        side(images, classes)
        peaks.append(tracemalloc.get_traced_memory()[1] / (400 * 600))
        tracemalloc.stop()
    assert peaks[0] <= 0.75 * peaks[1]


def test_twenty_regions_take_few_calls_and_a_third_of_the_work_of_a_loop():
    pool, features, masks = bench_training.regions(20)
    twenty = count(bench_training.batched_regions, (pool, features, masks))
    one = count(bench_training.batched_regions, (pool, features, masks[:, :1]))
    assert twenty[1] <= 1.1 * one[1]
    assert twenty[0] <= count(bench_training.looped_regions, (pool, features, masks))[0] / 3


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_frozen_step_takes_the_counted_share_of_the_multiplications(share):
    images = torch.rand(2, 3, 64, 64)
    with FlopCounterMode(display=False) as frozen:
        bench_training._step(bench_training.make_trunk(share), images)
    with FlopCounterMode(display=False) as full:
        bench_training._step(bench_training.make_trunk(0), images)
    counted = bench_training.count_ratio(share, 64)
    assert frozen.get_total_flops() / full.get_total_flops() == pytest.approx(counted, abs=0.01)


def test_decoding_two_hundred_segments_takes_as_many_calls_as_two(tmp_path):
    calls = []
    for segments in (2, 200):
        table = np.array([(0, 255, 0), *((index, index % 133, index) for index in range(1, segments + 1))], np.uint32)
        ids = np.random.default_rng(0).integers(0, segments + 1, (60, 80)).astype(np.uint32)
        found = []
        sys.setprofile(lambda _, event, __, found=found: found.append(event))
        decode_ids(ids, table, 133, tmp_path)
        sys.setprofile(None)
        calls.append(len(found))
    assert calls[0] == calls[1]


class Made(Example):
    """Who made an example and which one it is, instead of an image."""

    def __init__(self, process, position):
        vars(self).update(process=process, position=position)


class Positions(TrainingData):
    def __init__(self):
        pass

    def get_examples(self, iteration, batch_size, positions):
        return [Made(os.getpid(), iteration * batch_size + position) for position in positions]


def test_loader_processes_make_the_examples_not_the_training():
    groups = split_batch(4, 2, 1)
    steps = list(load_steps(Positions(), 4, groups, range(3), 2))
    made = [example for step in steps for group in step for example in group]
    assert [example.position for example in made] == list(range(12))
    assert os.getpid() not in {example.process for example in made}


def test_the_script_for_the_gpu_runs_on_the_cpu():
    device = torch.device("cpu")
    rows = bench_gpu.compare_ways(device, 1, height=64, width=96, classes=20, side=64, batch=1)
    assert {row["what"] for row in rows} == {
        "masks", "masks of noise", "pixels", "pixels of noise", "20 regions", "training step"
    }  # fmt: skip
    assert all(float(row["ms"]) > 0 for row in rows)
    rows = bench_gpu.compare_settings(device, 1, side=64, batch=1, compiled=(False,), architecture=ARCHITECTURE)
    assert len({(row["channels-last"], row["AMP"], row["step"]) for row in rows}) == len(rows) == 12
