import re

import pytest
import torch

from opentrans.clip.text import TextEmbeddings
from opentrans.config import OptimizerConfig, load_config
from opentrans.errors import UserError
from opentrans.models.registry import build_target
from opentrans.training.checkpoint import load_checkpoint, save_checkpoint
from opentrans.training.checkpoint_folder import CheckpointFolder
from opentrans.training.engine import train
from opentrans.training.schedule import build_optimizer
from opentrans.training.weight_decay import list_undecayed

# Names as the published code's optimiser sorts them: batch, group and layer norms and `nn.Embedding`s do not decay.
# `*` is a number; several names in one line share their beginning.
BACKBONE_EXEMPT = """
backbone.bn*.[weight bias]
backbone.layer*.*.bn*.[weight bias]
backbone.layer*.*.downsample.1.[weight bias]
"""
BACKBONE_DECAYS = """
backbone.conv*.weight
backbone.layer*.*.conv*.weight
backbone.layer*.*.downsample.0.weight
"""
MASK_HEAD_EXEMPT = """
head.decoder.decoder.layernorm.[weight bias]
head.decoder.decoder.layers.*.self_attn_layer_norm.[weight bias]
head.decoder.decoder.layers.*.cross_attn_layer_norm.[weight bias]
head.decoder.decoder.layers.*.final_layer_norm.[weight bias]
head.decoder.[level_embed queries_embedder queries_features].weight
head.pixel_decoder.[adapter layer]_*.1.[weight bias]
head.pixel_decoder.encoder.layers.*.[final_layer_norm self_attn_layer_norm].[weight bias]
head.pixel_decoder.input_projections.*.1.[weight bias]
"""
# The pixel decoder's level embedding is a bare parameter there, too.
MASK_HEAD_DECAYS = """
head.decoder.decoder.layers.*.cross_attn.[in_proj_weight in_proj_bias out_proj.weight out_proj.bias]
head.decoder.decoder.layers.*.self_attn.[q_proj k_proj v_proj out_proj].[weight bias]
head.decoder.decoder.layers.*.fc*.[weight bias]
head.decoder.decoder.mask_predictor.mask_embedder.*.0.[weight bias]
head.pixel_decoder.[adapter layer]_*.0.weight
head.pixel_decoder.encoder.layers.*.fc*.[weight bias]
head.pixel_decoder.encoder.layers.*.self_attn.[attention_weights sampling_offsets output_proj value_proj].[weight bias]
head.pixel_decoder.input_projections.*.0.[weight bias]
head.pixel_decoder.level_embed
head.pixel_decoder.mask_projection.[weight bias]
"""
NAMES = {
    "han": (
        BACKBONE_EXEMPT + MASK_HEAD_EXEMPT,
        BACKBONE_DECAYS
        + MASK_HEAD_DECAYS
        + """
query_head.[weight bias]
class_head.[weight bias]
auxiliary_heads.*.[weight bias]
student_heads.*.[weight bias]
classifier.[no_object log_scale]
""",
    ),
    "deeplabv3": (
        BACKBONE_EXEMPT
        + """
decoder.aspp.convs.[0 1 2 3].1.[weight bias]
decoder.aspp.project.1.[weight bias]
decoder.fuse.*.1.[weight bias]
decoder.low_level.1.[weight bias]
""",
        BACKBONE_DECAYS
        + """
decoder.aspp.convs.[0 1 2 3].0.weight
decoder.aspp.convs.4.1.[weight bias]
decoder.aspp.project.0.weight
decoder.fuse.*.0.weight
decoder.low_level.0.weight
pixel_head.[weight bias]
classifier.[no_object log_scale]
""",
    ),
    # Its no-object vector is an `nn.Embedding`; CLIP's pool is never trained.
    "fcclip": (
        BACKBONE_EXEMPT
        + MASK_HEAD_EXEMPT
        + """
class_head.pool_projection.0.[weight bias]
classifier.no_object
""",
        BACKBONE_DECAYS
        + MASK_HEAD_DECAYS
        + """
class_head.pool_projection.1.[weight bias]
class_head.embed.*.[weight bias]
classifier.log_scale
attention_pool.pool.positional_embedding
attention_pool.pool.[q_proj k_proj v_proj c_proj].[weight bias]
""",
    ),
}


def fits(name, lines):
    def compile_line(line):
        parts = re.split(r"(\[[^]]*\]|\*)", line)
        choices = {part: "|".join(map(re.escape, part[1:-1].split())) for part in parts if part.startswith("[")}
        return "".join(r"\d+" if p == "*" else f"({choices[p]})" if p in choices else re.escape(p) for p in parts)

    return sum(bool(re.fullmatch(compile_line(line), name)) for line in lines.split("\n") if line)


@pytest.fixture
def build(project, teacher):
    settings = load_config([project.folder / "config.yaml"]).targets
    text = TextEmbeddings.load(project.folder / "text.safetensors")
    return lambda kind: build_target(settings[kind], teacher, text)


@pytest.mark.parametrize("kind", NAMES)
def test_what_decays_is_what_decays_in_the_published_code(build, kind):
    target = build(kind)
    exempt, decaying = NAMES[kind]
    undecayed = list_undecayed(target, target.undecayed)
    wrong = {}
    for name, _ in target.named_parameters():
        counts = fits(name, exempt), fits(name, decaying)
        if counts != ((1, 0) if name in undecayed else (0, 1)):
            wrong[name] = counts
    assert not wrong
    assert set(undecayed) <= {name for name, _ in target.named_parameters()}


@pytest.mark.parametrize("kind", NAMES)
def test_optimiser_holds_each_trained_weight_once_with_its_decay(build, kind):
    target = build(kind).requires_grad_(True)
    named = dict(target.named_parameters())
    backbone = [named[name] for name in named if name.startswith("backbone.")]
    heads = [named[name] for name in named if not name.startswith("backbone.")]
    settings = OptimizerConfig(name="adamw", lr=0.1, weight_decay=0.05, backbone_lr_factor=0.1)
    names = list_undecayed(target, target.undecayed)
    optimizer = build_optimizer(settings, heads, backbone, undecayed=[named[name] for name in names])
    found = {
        id(parameter): (group["weight_decay"], group["factor"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(named)
    for name, parameter in named.items():
        wanted = 0.0 if name in names else 0.05, 0.1 if name.startswith("backbone.") else 1.0
        assert found[id(parameter)] == wanted, name


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_norm_layers_do_not_decay_and_convolutions_do(make_run, tmp_path, optimizer):
    settings = OptimizerConfig(name=optimizer, lr=0.1, weight_decay=0.1)
    run = make_run(optimizer=settings)
    run.target.loss = lambda batch: {"none": 0 * sum(weight.sum() for weight in run.target.parameters())}
    before = {name: weight.detach().clone() for name, weight in run.target.named_parameters()}
    train(run, 1, CheckpointFolder(tmp_path / "unfinished"))
    for name, weight in run.target.named_parameters():
        factor = 1.0 if ".bn" in name or ".downsample.1" in name else 1 - 0.1 * 0.1
        torch.testing.assert_close(weight, factor * before[name], msg=name)


def test_a_checkpoint_of_other_decay_groups_is_refused(make_run, tmp_path):
    run, path = make_run(), tmp_path / "checkpoint.safetensors"
    train(run, 1, CheckpointFolder(tmp_path / "unfinished"))
    run.save(path)
    identity = load_checkpoint(path).identity
    make_run().resume(path)

    # As it was written when everything decayed alike.
    del identity["undecayed"]
    save_checkpoint(path, run.iteration, run.target, run.optimizer, identity)
    with pytest.raises(UserError, match=r"weight decay on other parameters .* delete it and start this run afresh"):
        make_run().resume(path)
