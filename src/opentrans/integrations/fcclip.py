"""Checkpoints of the published FC-CLIP (detectron2 state dicts), both ways.

Their file holds the whole CLIP model (``backbone.clip_model``), pixel decoder and predictor (``sem_seg_head``) and
the void embedding: 792 tensors for RN50. Here CLIP is an artefact of its own (the teacher), and a run holds the trunk,
the attention pool, the heads and the training vocabulary's embeddings.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from opentrans.errors import UserError, shorten
from opentrans.models.fcclip import MAX_SCALE
from opentrans.models.locating import describe_nearest
from opentrans.system.files import atomic_path
from opentrans.system.tensors import load_tensors

FCCLIP_REMEDY = "give a checkpoint of FC-CLIP with the sizes of the configured target"
_CLIP, _VISUAL = "backbone.clip_model.", "backbone.clip_model.visual."
_PREDICTOR = "sem_seg_head.predictor."
_COUNTER = "num_batches_tracked"  # frozen batch norms have none
_OWN = ("classifier.embeddings", "classifier.class_index", "clip_scale", "criterion.empty_weight")  # follow elsewhere
# Our names (regular expressions) to theirs; all that match apply, in this order.
_LAYER = r"^head\.decoder\.decoder\.layers\.(\d+)\."
_NAMES = (
    (r"^backbone\.", _VISUAL),
    (r"^attention_pool\.pool\.", _VISUAL + "attnpool."),
    (r"^head\.pixel_decoder\.input_projections\.", "sem_seg_head.pixel_decoder.input_proj."),
    (r"^head\.pixel_decoder\.(level_embed|encoder)", r"sem_seg_head.pixel_decoder.transformer.\1"),
    (r"^head\.pixel_decoder\.mask_projection\.", "sem_seg_head.pixel_decoder.mask_features."),
    (r"^head\.pixel_decoder\.(adapter|layer)_(\d+)\.0\.", r"sem_seg_head.pixel_decoder.\1_\2."),
    (r"^head\.pixel_decoder\.(adapter|layer)_(\d+)\.1\.", r"sem_seg_head.pixel_decoder.\1_\2.norm."),
    (r"^(sem_seg_head\..*)\.self_attn_layer_norm\.", r"\1.norm1."),
    (r"^(sem_seg_head\..*)\.final_layer_norm\.", r"\1.norm2."),
    (r"^(sem_seg_head\..*)\.fc([12])\.", r"\1.linear\2."),
    (_LAYER + r"self_attn\.", _PREDICTOR + r"transformer_self_attention_layers.\1.self_attn."),
    (_LAYER + r"self_attn_layer_norm\.", _PREDICTOR + r"transformer_self_attention_layers.\1.norm."),
    (_LAYER + r"cross_attn\.", _PREDICTOR + r"transformer_cross_attention_layers.\1.multihead_attn."),
    (_LAYER + r"cross_attn_layer_norm\.", _PREDICTOR + r"transformer_cross_attention_layers.\1.norm."),
    (_LAYER + r"fc([12])\.", _PREDICTOR + r"transformer_ffn_layers.\1.linear\2."),
    (_LAYER + r"final_layer_norm\.", _PREDICTOR + r"transformer_ffn_layers.\1.norm."),
    (r"^head\.decoder\.decoder\.layernorm\.", _PREDICTOR + "decoder_norm."),
    (r"^head\.decoder\.decoder\.mask_predictor\.mask_embedder\.(\d+)\.0\.", _PREDICTOR + r"mask_embed.layers.\1."),
    (r"^head\.decoder\.queries_embedder\.", _PREDICTOR + "query_embed."),
    (r"^head\.decoder\.queries_features\.", _PREDICTOR + "query_feat."),
    (r"^head\.decoder\.level_embed\.", _PREDICTOR + "level_embed."),
    (r"^class_head\.pool_projection\.", _PREDICTOR + "_mask_pooling_proj."),
    (r"^class_head\.embed\.0\.", _PREDICTOR + "class_embed.layers.0."),
    (r"^class_head\.embed\.2\.", _PREDICTOR + "class_embed.layers.1."),
    (r"^class_head\.embed\.4\.", _PREDICTOR + "class_embed.layers.2."),
    (r"^classifier\.no_object$", "void_embedding.weight"),
    (r"^classifier\.log_scale$", _PREDICTOR + "logit_scale"),
)
_SPLIT = re.compile(r"(.*self_attention_layers.*self_attn\.)([qkv])_proj\.(weight|bias)")  # theirs: one in_proj


def get_their_name(name: str) -> tuple[str, int | None]:
    """FC-CLIP's name of a tensor of ours; and which third (q, k, v) of it, where theirs holds all three."""
    for pattern, theirs in _NAMES:
        name = re.sub(pattern, theirs, name)
    split = _SPLIT.fullmatch(name)
    if split is None:
        return name, None
    return f"{split[1]}in_proj_{split[3]}", "qkv".index(split[2])


def read_detectron2(path: Path) -> dict[str, Tensor]:
    """The model of a detectron2 checkpoint (``.pth`` with its training state, or a bare state dict; safetensors).

    Nothing is unpickled but tensors, plain values and numpy scalars.
    """
    if path.suffix == ".safetensors":
        return load_tensors(path, FCCLIP_REMEDY)[0]

    # numpy scalars are among the training state that detectron2 saves beside the model.
    kinds = {type(np.dtype(code)) for code in ("f4", "f8", "i4", "i8", "b1")}
    allowed: list[Any] = [np._core.multiarray.scalar, np.dtype, *kinds]  # type: ignore[attr-defined]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(path, "no such file", FCCLIP_REMEDY) from None
    except Exception as error:  # zip, pickle and torch errors have no common base
        problem = f"not a torch checkpoint without code ({shorten(error)})"
        raise UserError(path, problem, "save its model again with torch.save") from None

    model = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(model, dict) or not all(isinstance(value, Tensor) for value in model.values()):
        raise UserError(path, "holds no state dict of tensors", FCCLIP_REMEDY)
    return {name.removeprefix("module."): value for name, value in model.items()}


def get_clip(theirs: Mapping[str, Tensor], where: object) -> dict[str, Tensor]:
    """The whole CLIP model of their checkpoint by open_clip's names."""
    clip = {name.removeprefix(_CLIP): value for name, value in theirs.items() if name.startswith(_CLIP)}
    if not clip:
        raise UserError(where, f"no tensor's name starts with {_CLIP}", FCCLIP_REMEDY)
    return clip


def import_state(
    theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor], where: object = "checkpoint"
) -> dict[str, Tensor]:
    """Their weights under our names.

    Args:
        theirs: the state dict of their model.
        ours: the state dict of our `FcClip` of the same sizes; gives names and shapes, and the vocabulary.
        where: for messages.

    Raises:
        UserError: a tensor is missing, of another shape, or has no place here.
    """
    state = {}
    used = {name for name in theirs if name.startswith(_CLIP) or name == "criterion.empty_weight"}
    for name, own in ours.items():
        their_name, third = get_their_name(name)
        is_missing = their_name not in theirs
        if name in _OWN or (is_missing and their_name.endswith(_COUNTER)):
            state[name] = own
            continue
        if is_missing:
            problem = f"tensor is missing{describe_nearest(their_name, theirs)}"
            raise UserError(f"{where}: {their_name}", problem, FCCLIP_REMEDY)

        value = theirs[their_name]
        state[name] = value if third is None else value.chunk(3)[third]
        used.add(their_name)
        if state[name].shape != own.shape:
            problem = f"shape {tuple(value.shape)} gives {tuple(state[name].shape)}, the target has {tuple(own.shape)}"
            raise UserError(f"{where}: {their_name}", problem, FCCLIP_REMEDY)

    unknown = sorted(theirs.keys() - used)
    if unknown:
        raise UserError(f"{where}: {unknown[0]}", f"has no place in our FC-CLIP ({len(unknown)} such)", FCCLIP_REMEDY)

    # Theirs computes it from CLIP's own logit scale at every call.
    state["clip_scale"] = theirs[f"{_CLIP}logit_scale"].exp().clamp(max=MAX_SCALE)
    return state


def export_state(ours: Mapping[str, Tensor], clip: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our FC-CLIP as their state dict.

    Args:
        ours: the state dict of our `FcClip`.
        clip: the whole CLIP model by open_clip's names (the teacher's artefact): the text side comes from it, the
            image encoder from the run, which may be pruned.
    """
    state = {_CLIP + name: value for name, value in clip.items()}

    thirds: dict[str, dict[int, Tensor]] = {}
    for name, value in ours.items():
        if name in _OWN:
            continue
        their_name, third = get_their_name(name)
        if third is None:
            state[their_name] = value
        else:
            thirds.setdefault(their_name, {})[third] = value

    # Query, key and value are one tensor with them.
    state |= {name: torch.cat([parts[third] for third in range(3)]) for name, parts in thirds.items()}
    state["criterion.empty_weight"] = ours["criterion.empty_weight"]
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


def write_detectron2(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write ``{"model": state}`` as detectron2's checkpointer reads it (``.pth``)."""
    with atomic_path(path) as temporary:
        torch.save({"model": dict(state), "__author__": "opentrans", "matching_heuristics": False}, temporary)
