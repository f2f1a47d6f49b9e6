import os
import sys
import types
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from host_samples import make_host, make_subnetwork


@pytest.fixture
def host():
    return make_host()


@pytest.fixture(scope="session")
def subnetwork():
    return make_subnetwork()


FCCLIP = "OPENTRANS_FCCLIP"


@pytest.fixture(scope="session")
def fcclip(tmp_path_factory):
    """The public FC-CLIP with RN50 at random weights, on the CPU, and a subnetwork for its trunk."""
    if FCCLIP not in os.environ:
        pytest.skip(f"{FCCLIP} does not name the sources of the public FC-CLIP (docs/integrations.md)")
    sources = Path(os.environ[FCCLIP])
    patch = pytest.MonkeyPatch()
    patch.chdir(sources)  # it reads files relative to its folder
    patch.syspath_prepend(str(sources))
    # Its own pure-PyTorch path serves where the compiled operator does not.
    patch.setitem(sys.modules, "MultiScaleDeformableAttention", types.ModuleType("MultiScaleDeformableAttention"))
    from detectron2.config import get_cfg
    from detectron2.data import MetadataCatalog
    from detectron2.modeling import build_model
    from detectron2.projects.deeplab import add_deeplab_config
    from fcclip import add_fcclip_config, add_maskformer2_config

    MetadataCatalog.get("openvocab_train").set(stuff_classes=["cat,kitten", "dog", "sky", "road"], ignore_label=255)
    MetadataCatalog.get("openvocab_test").set(stuff_classes=["cat", "grass", "sky", "wall"], ignore_label=255)
    cfg = get_cfg()
    for add in (add_deeplab_config, add_maskformer2_config, add_fcclip_config):
        add(cfg)
    cfg.merge_from_file("configs/coco/panoptic-segmentation/fcclip/fcclip_convnext_large_eval_ade20k_r50.yaml")
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS, cfg.SOLVER.AMP.ENABLED = "cpu", "", False
    cfg.MODEL.FC_CLIP.CLIP_MODEL_NAME, cfg.MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS = "RN50", None
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("openvocab_train",), ("openvocab_test",)
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.MODEL.MASK_FORMER.TRAIN_NUM_POINTS = 4, 1024
    # Masks are resized before they are joined, as in the published evaluation (there because panoptic is on).
    cfg.MODEL.MASK_FORMER.TEST.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE = True
    cfg.MODEL.MASK_FORMER.TEST.PANOPTIC_ON = cfg.MODEL.MASK_FORMER.TEST.INSTANCE_ON = False
    torch.manual_seed(0)
    yield build_model(cfg)
    patch.undo()
