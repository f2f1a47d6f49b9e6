import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from builders import ARCHITECTURE
from opentrans.clip.backbone import ClipBackbone, get_prunable
from opentrans.sparse import build
from opentrans.sparse.convolution import SparseConv
from opentrans.sparse.maps import LANES, Layout, Memory
from opentrans.sparse.trunk import SparseTrunk, sparsify

TWO_BLOCKS = ARCHITECTURE | {"vision_cfg": ARCHITECTURE["vision_cfg"] | {"layers": [1, 2, 1, 1]}}


def make_backbone(output_stride=32, density=0.1):
    backbone = ClipBackbone(TWO_BLOCKS, output_stride).eval()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_()
    for weight in get_prunable(backbone).values():
        weight.data.mul_(torch.rand_like(weight) < density).mul_(density**-0.5)
    return backbone


@pytest.fixture(scope="module", autouse=True)
def kernels(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        build.load_kernel.cache_clear()
        yield
    build.load_kernel.cache_clear()


def enter(maps, border):
    """Maps inside a border of zeros."""
    made = Memory().take(Layout(*maps.shape, border))
    made.view().copy_(maps)
    return made


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("size", [(64, 64), (96, 160), (64, 544), (65, 95), (70, 129)])
@torch.no_grad()
def test_maps_equal_the_dense_trunk(output_stride, size):
    backbone, images = make_backbone(output_stride), torch.randn(2, 3, *size)
    sparse = sparsify(backbone)
    assert isinstance(sparse, SparseTrunk)
    expected, found = backbone(images), sparse(images)
    assert found.keys() == expected.keys()
    assert sparse.channels == backbone.channels
    for stage, maps in expected.items():
        torch.testing.assert_close(found[stage], maps, rtol=1e-4, atol=1e-4 * maps.abs().max().item())


@torch.no_grad()
def test_one_trunk_serves_images_of_different_sizes():
    backbone = make_backbone()
    sparse = sparsify(backbone)
    for size in [(64, 96), (96, 64), (64, 96)]:
        images = torch.randn(1, 3, *size)
        torch.testing.assert_close(sparse(images)["res5"], backbone(images)["res5"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("taps", "dilation"), [(1, 1), (3, 1), (3, 4)])
def test_a_convolution_equals_torch_with_any_width_and_number_of_threads(taps, dilation, threads):
    weight = torch.randn(5, 7, taps, taps) * (torch.rand(5, 7, taps, taps) < 0.4)
    weight[2] = 0  # a channel of which nothing is left
    bias, maps = torch.randn(5), torch.randn(7, 9, 2 * LANES + 3)
    convolution = SparseConv(build.load_kernel(), weight, bias, dilation)
    source = enter(maps, convolution.shift)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    output = convolution(source, Memory(), 2, relu=True)
    torch.set_num_threads(before)
    expected = torch.conv2d(maps[None], weight, bias, padding=convolution.shift, dilation=dilation)[0].relu()
    torch.testing.assert_close(output.view(), expected, rtol=1e-5, atol=1e-5)
    assert output.view(border=True)[:, :2].eq(0).all()
    assert output.view(border=True)[:, :, -2:].eq(0).all()


@pytest.mark.parametrize("channels", [7, 300])  # within one block of rows, and over several
@pytest.mark.parametrize("size", [(8, 32), (9, 2 * LANES + 3), (2, 71), (7, 200)])
def test_a_pooled_convolution_equals_torchs_with_a_residual_and_odd_sizes(size, channels):
    weight = torch.randn(5, channels, 1, 1) * (torch.rand(5, channels, 1, 1) < 0.4)
    bias, maps = torch.randn(5), torch.randn(channels, *size)
    expected = torch.conv2d(torch.nn.functional.avg_pool2d(maps[None], 2), weight, bias)[0]
    residual = torch.randn_like(expected)
    convolution = SparseConv(build.load_kernel(), weight, bias, 1)
    found = convolution(enter(maps, 0), Memory(), 0, relu=True, residual=enter(residual, 0), pool=2)
    torch.testing.assert_close(found.view(), (expected + residual).relu(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("taps", [1, 3])
def test_a_convolution_of_which_nothing_is_left_gives_its_biases(taps):
    bias, residual = torch.randn(5), torch.randn(5, 6, 40)
    convolution = SparseConv(build.load_kernel(), torch.zeros(5, 7, taps, taps), bias, 1)
    memory = Memory()
    memory.take(Layout(5, 6, 40, 0)).buffer.fill_(torch.nan)  # what the result is written into
    found = convolution(enter(torch.randn(7, 6, 40), taps // 2), memory, 0, relu=False, residual=enter(residual, 0))
    torch.testing.assert_close(found.view(), residual + bias[:, None, None])


def test_a_convolution_works_on_the_weights_that_remain_and_no_others():
    weight = torch.randn(64, 32, 3, 3) * (torch.rand(64, 32, 3, 3) < 0.1)
    convolution = SparseConv(build.load_kernel(), weight, torch.zeros(64), 1)
    assert len(convolution.weights) == convolution.first[-1] == weight.count_nonzero()


@torch.no_grad()
def test_maps_stay_as_they_are_when_the_trunk_is_called_again():
    sparse, images = sparsify(make_backbone()), torch.randn(3, 3, 64, 96)
    first = sparse(images[:1])
    copies = {stage: maps.clone() for stage, maps in first.items()}
    sparse(images[1:])
    assert all(torch.equal(first[stage], copies[stage]) for stage in copies)
    assert all(torch.equal(sparse(images)[stage][:1], copies[stage]) for stage in copies)


@torch.no_grad()
def test_threads_may_share_a_trunk():
    sparse, images = sparsify(make_backbone()), torch.randn(12, 1, 3, 64, 96)
    alone = [sparse(image)["res5"].clone() for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(sparse, images))
    assert all(torch.equal(a, b["res5"]) for a, b in zip(alone, together, strict=True))


def test_buffers_are_used_again_when_free_and_dropped_when_not_used():
    memory, layout = Memory(), Layout(2, 8, 16, 1)
    first = memory.take(layout)
    first.buffer.fill_(torch.nan)
    place, kept = first.buffer.data_ptr(), first.view()[1:, 2:]
    del first
    other = memory.take(layout)
    assert other.buffer.data_ptr() != place  # a view is still there
    del kept
    second = memory.take(Layout(2, 8, 15, 1))  # a little smaller
    assert second.buffer.data_ptr() == place
    assert second.view(border=True)[:, 0].eq(0).all()
    del second, other
    memory.drop_unused()
    assert len(memory._free) == 2
    memory.take(layout)
    memory.drop_unused()
    assert len(memory._free) == 1


def test_a_dense_trunk_is_left_as_it_is():
    backbone = make_backbone(density=1.0)
    assert sparsify(backbone) is backbone


def test_a_trunk_without_a_compiler_is_left_as_it_is_with_a_warning(monkeypatch, caplog):
    monkeypatch.setenv("CXX", "no-such-compiler")
    build.load_kernel.cache_clear()
    backbone = make_backbone()
    assert sparsify(backbone) is backbone
    assert "no C++ compiler" in caplog.text
    build.load_kernel.cache_clear()


def test_a_compiler_that_fails_leaves_nothing_behind(monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", shutil.which("false"))
    build.load_kernel.cache_clear()
    assert build.load_kernel() is None
    assert "does not compile" in caplog.text
    assert not list((tmp_path / "opentrans/kernels").iterdir())
    build.load_kernel.cache_clear()


@pytest.mark.workflow
def test_jobs_that_start_together_share_one_compiled_kernel(tmp_path):
    command = [sys.executable, "-c", "from opentrans.sparse.build import load_kernel; assert load_kernel()"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    jobs = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [job.wait(120) for job in jobs] == [0, 0]
    assert len(list((tmp_path / "opentrans/kernels").iterdir())) == 1
