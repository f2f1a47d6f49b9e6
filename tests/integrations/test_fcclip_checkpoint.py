"""The published FC-CLIP checkpoint format, on synthetic checkpoints of its keys and shapes."""

import json
from pathlib import Path

import detectron2_cases as cases
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from opentrans.cli import main
from opentrans.clip.teacher import Teacher
from opentrans.clip.text import TextEmbeddings
from opentrans.clip.weights import ClipWeights
from opentrans.config import OptimizerConfig, TargetConfig, TrainingConfig, load_config
from opentrans.data.prepared import Vocabulary
from opentrans.errors import UserError
from opentrans.evaluation.loading import load_run
from opentrans.integrations.fcclip import export_state, get_their_name, import_state, read_detectron2, write_detectron2
from opentrans.models.registry import build_target
from opentrans.runs.find import find_run

TRAINING = TrainingConfig(
    iterations=1, warmup_iterations=0, batch_size=1, crop_size=64, optimizer=OptimizerConfig(name="adamw", lr=1e-4)
)
CONFIG = Path("config/mini.yaml")


def affine(name, *shape):
    """Weight and bias of a layer or a norm."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def norm(name, width):
    statistics = {f"{name}.running_mean": (width,), f"{name}.running_var": (width,), f"{name}.num_batches_tracked": ()}
    return affine(name, width) | statistics


def describe_visual():
    shapes = {}
    for number, (inputs, outputs) in enumerate([(3, 32), (32, 32), (32, 64)], 1):
        shapes |= {f"conv{number}.weight": (outputs, inputs, 3, 3)} | norm(f"bn{number}", outputs)
    inputs = 64
    for stage, (blocks, planes) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], 1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            shapes |= {f"{name}.conv1.weight": (planes, inputs, 1, 1)} | norm(f"{name}.bn1", planes)
            shapes |= {f"{name}.conv2.weight": (planes, planes, 3, 3)} | norm(f"{name}.bn2", planes)
            shapes |= {f"{name}.conv3.weight": (4 * planes, planes, 1, 1)} | norm(f"{name}.bn3", 4 * planes)
            if block == 0:
                shapes |= {f"{name}.downsample.0.weight": (4 * planes, inputs, 1, 1)}
                shapes |= norm(f"{name}.downsample.1", 4 * planes)
            inputs = 4 * planes
    shapes |= {"attnpool.positional_embedding": (50, 2048)}
    for name in "qkvc":
        shapes |= affine(f"attnpool.{name}_proj", 1024 if name == "c" else 2048, 2048)
    return shapes


def describe_text():
    shapes = {"token_embedding.weight": (49408, 512), "positional_embedding": (77, 512), "text_projection": (512, 1024)}
    shapes |= affine("ln_final", 512) | {"logit_scale": ()}
    for block in range(12):
        name = f"transformer.resblocks.{block}"
        shapes |= affine(f"{name}.ln_1", 512) | affine(f"{name}.ln_2", 512)
        shapes |= {f"{name}.attn.in_proj_weight": (1536, 512), f"{name}.attn.in_proj_bias": (1536,)}
        shapes |= affine(f"{name}.attn.out_proj", 512, 512)
        shapes |= affine(f"{name}.mlp.c_fc", 2048, 512) | affine(f"{name}.mlp.c_proj", 512, 2048)
    return shapes


def describe_pixel_decoder():
    shapes = {"transformer.level_embed": (3, 256)}
    for level, channels in enumerate((2048, 1024, 512)):
        shapes |= affine(f"input_proj.{level}.0", 256, channels, 1, 1) | affine(f"input_proj.{level}.1", 256)
    for layer in range(6):
        name = f"transformer.encoder.layers.{layer}"
        shapes |= affine(f"{name}.self_attn.sampling_offsets", 192, 256)
        shapes |= affine(f"{name}.self_attn.attention_weights", 96, 256)
        shapes |= affine(f"{name}.self_attn.value_proj", 256, 256) | affine(f"{name}.self_attn.output_proj", 256, 256)
        shapes |= affine(f"{name}.linear1", 1024, 256) | affine(f"{name}.linear2", 256, 1024)
        shapes |= affine(f"{name}.norm1", 256) | affine(f"{name}.norm2", 256)
    shapes |= affine("mask_features", 256, 256, 1, 1)
    shapes |= {"adapter_1.weight": (256, 256, 1, 1), "layer_1.weight": (256, 256, 3, 3)}
    return shapes | affine("adapter_1.norm", 256) | affine("layer_1.norm", 256)


def describe_predictor():
    shapes = affine("decoder_norm", 256) | {"logit_scale": (), "level_embed.weight": (3, 256)}
    shapes |= {"query_feat.weight": (250, 256), "query_embed.weight": (250, 256)}
    for layer in range(9):
        attentions = (("self", "self_attn"), ("cross", "multihead_attn"))
        for kind, inner in attentions:
            name = f"transformer_{kind}_attention_layers.{layer}"
            shapes |= {f"{name}.{inner}.in_proj_weight": (768, 256), f"{name}.{inner}.in_proj_bias": (768,)}
            shapes |= affine(f"{name}.{inner}.out_proj", 256, 256) | affine(f"{name}.norm", 256)
        name = f"transformer_ffn_layers.{layer}"
        shapes |= (
            affine(f"{name}.linear1", 2048, 256) | affine(f"{name}.linear2", 256, 2048) | affine(f"{name}.norm", 256)
        )
    for layer in range(3):
        shapes |= affine(f"mask_embed.layers.{layer}", 256, 256)
        shapes |= affine(f"class_embed.layers.{layer}", 1024 if layer == 2 else 256, 256)
    return shapes | affine("_mask_pooling_proj.0", 256) | affine("_mask_pooling_proj.1", 256, 256)


def describe_published():
    """Names and shapes of the published RN50 checkpoint."""
    parts = {
        "backbone.clip_model.visual.": describe_visual(),
        "backbone.clip_model.": describe_text(),
        "sem_seg_head.pixel_decoder.": describe_pixel_decoder(),
        "sem_seg_head.predictor.": describe_predictor(),
    }
    shapes = {prefix + name: shape for prefix, part in parts.items() for name, shape in part.items()}
    return shapes | {"criterion.empty_weight": (134,), "void_embedding.weight": (1, 1024)}


def test_the_synthetic_checkpoint_has_the_published_size():
    shapes = describe_published()
    buffers = ("running_mean", "running_var", "num_batches_tracked", "empty_weight")
    assert len(shapes) == 792
    assert sum(name.startswith("backbone.") for name in shapes) == 489
    assert sum(int(np.prod(shape)) for name, shape in shapes.items() if not name.endswith(buffers)) == 123_040_546


def test_every_published_tensor_at_true_size_has_its_place_and_comes_back():
    generator = torch.Generator().manual_seed(0)
    theirs = {name: torch.rand((), generator=generator).expand(shape) for name, shape in describe_published().items()}
    architecture = {"embed_dim": 1024, "vision_cfg": {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64}}
    visual = {name: torch.zeros(()).expand(shape) for name, shape in describe_visual().items()}
    settings = TargetConfig(kind="fcclip", prompts="ensemble", queries=250, training=TRAINING)
    text = TextEmbeddings(torch.eye(133, 1024), torch.arange(133))
    target = build_target(settings, ClipWeights(architecture, visual, 100.0, torch.device("cpu")), text)
    state = import_state(theirs, target.state_dict())
    assert state.keys() == target.state_dict().keys()
    clip = {name.removeprefix("backbone.clip_model."): v for name, v in theirs.items() if "clip_model" in name}
    back = export_state(state, clip)
    assert back.keys() == theirs.keys()
    for name in theirs.keys() - {"criterion.empty_weight"}:
        assert back[name].shape == theirs[name].shape
        assert torch.equal(back[name], theirs[name]), name


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("backbone.layer1.0.downsample.0.weight", "backbone.clip_model.visual.layer1.0.downsample.0.weight"),
        ("attention_pool.pool.c_proj.bias", "backbone.clip_model.visual.attnpool.c_proj.bias"),
        ("head.pixel_decoder.adapter_1.1.bias", "sem_seg_head.pixel_decoder.adapter_1.norm.bias"),
        ("classifier.no_object", "void_embedding.weight"),
    ],
)
def test_names_are_those_of_the_published_code(ours, theirs):
    assert get_their_name(ours) == (theirs, None)


def test_queries_keys_and_values_are_thirds_of_one_tensor():
    start = "head.decoder.decoder.layers.2.self_attn."
    joined = "sem_seg_head.predictor.transformer_self_attention_layers.2.self_attn.in_proj_weight"
    assert [get_their_name(f"{start}{name}_proj.weight") for name in "qkv"] == [(joined, n) for n in range(3)]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A checkpoint of the published form at the mini world's sizes, with the state of its training."""
    folder = tmp_path_factory.mktemp("published")
    config = load_config([CONFIG])
    torch.manual_seed(0)
    teacher = Teacher({**config.teacher.architecture, "quick_gelu": True})
    text = TextEmbeddings(F.normalize(torch.randn(4, 64), dim=-1), torch.arange(4))
    target = build_target(config.targets["fcclip"], teacher, text)
    write_detectron2(folder / "bare.pth", export_state(target.state_dict(), teacher.clip.state_dict()))
    content = torch.load(folder / "bare.pth", weights_only=True)
    content |= {"iteration": 5, "optimizer": {"state": {}}, "trainer": {"best": np.float64(3.5)}}
    torch.save(content, folder / "model.pth")
    Vocabulary("coco", (("cat", "kitten"), ("dog",), ("sky",), ("road",)), 255).write(folder / "vocabulary.json")
    return folder


def import_published(published, output, *words):
    names = ["--checkpoint", str(published / "model.pth"), "--vocabulary", str(published / "vocabulary.json")]
    return main(["import-checkpoint", *names, "--output", str(output), *words])


def test_an_imported_checkpoint_is_a_run_to_evaluate_and_to_export(published, tmp_path, capsys):
    results = tmp_path / "results"
    assert import_published(published, results) == 0
    run = results / "training/fcclip/dense/none/seed0"
    assert f"--run {run}" in capsys.readouterr().out
    target = load_run(find_run(run))
    theirs = read_detectron2(published / "model.pth")
    assert torch.equal(target.head.decoder.queries_features.weight, theirs["sem_seg_head.predictor.query_feat.weight"])
    assert torch.equal(target.backbone.conv1.weight, theirs["backbone.clip_model.visual.conv1.weight"])
    assert float(target.clip_scale) == pytest.approx(float(theirs["backbone.clip_model.logit_scale"].exp()))
    assert len(target.classifier.class_index) == 5

    prepared = cases.make_prepared(tmp_path, ["pas20"])
    texts = results / "text/ensemble/coco_train.safetensors"
    words = ["--run", run / "checkpoint.safetensors", "--target", "fcclip", "--subnetwork", "dense", "--freeze", "none"]
    words += ["--seed", "0", "--teacher", results / "teacher/teacher.safetensors", "--train-text", texts]
    words += [
        "--datasets",
        f"pas20={prepared}/pas20/val",
        "--texts",
        f"pas20={texts}",
        "--output-dir",
        tmp_path / "out",
    ]
    assert main(["evaluate", *map(str, words)]) == 0
    assert json.loads((tmp_path / "out/pas20.json").read_text())["images"] == 4

    assert main(["export-checkpoint", "--run", str(run), "--output", str(tmp_path / "back.pth")]) == 0
    back = read_detectron2(tmp_path / "back.pth")
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], value) for name, value in theirs.items() if name != "criterion.empty_weight")


def change(published, folder, edit):
    content = torch.load(published / "bare.pth", weights_only=True)
    edit(content["model"])
    torch.save(content, folder / "model.pth")
    (folder / "vocabulary.json").write_bytes((published / "vocabulary.json").read_bytes())
    return folder


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda m: m.pop("void_embedding.weight"), "void_embedding.weight: tensor is missing"),
        (lambda m: m.update({"sem_seg_head.new": torch.zeros(1)}), "sem_seg_head.new: has no place in our FC-CLIP"),
        (lambda m: m.update({"void_embedding.weight": torch.zeros(2, 64)}), "gives (2, 64), the target has (1, 64)"),
        (lambda m: m.pop("backbone.clip_model.ln_final.bias"), "its CLIP is not the configured teacher.architecture"),
        (dict.clear, "no tensor's name starts with backbone.clip_model."),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_one_line(published, tmp_path, capsys, edit, words):
    assert import_published(change(published, tmp_path, edit), tmp_path / "results") == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "results").glob("training/**/*.safetensors"))


def test_files_that_are_no_checkpoint_are_refused(tmp_path):
    (tmp_path / "text.pth").write_text("nothing")
    torch.save({"model": {"a": "text"}}, tmp_path / "values.pth")
    torch.save({"model": torch.nn.Linear(1, 1)}, tmp_path / "code.pth")
    for name, words in (
        ("none", "no such file"),
        ("text", "not a torch checkpoint"),
        ("values", "no state dict of tensors"),
        ("code", "not a torch checkpoint without code"),
    ):
        with pytest.raises(UserError, match=words):
            read_detectron2(tmp_path / f"{name}.pth")


def test_only_fcclip_can_be_imported(published, tmp_path, capsys):
    assert import_published(published, tmp_path, "--target", "han") == 2
    assert "--target: is of kind han" in capsys.readouterr().err
