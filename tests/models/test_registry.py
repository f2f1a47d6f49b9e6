import pytest
import torch
from model_samples import make_settings

from opentrans.models.deeplabv3 import DeepLabV3
from opentrans.models.registry import BUILDERS, build_target, register
from opentrans.models.target import Target


@pytest.mark.parametrize(("kind", "name"), [("han", "Han"), ("deeplabv3", "DeepLabV3"), ("fcclip", "FcClip")])
def test_targets_are_built_by_kind(teacher, text, kind, name):
    target = build_target(make_settings(kind), teacher, text)
    assert isinstance(target, Target)
    assert type(target).__name__ == name


def test_a_new_target_registers_itself(monkeypatch, teacher, text):
    monkeypatch.setattr("opentrans.models.registry.BUILDERS", dict(BUILDERS))
    monkeypatch.setattr("importlib.import_module", lambda name: None)
    settings, built = make_settings("han"), []

    class Recorder(DeepLabV3):
        def __init__(self, *arguments):
            torch.nn.Module.__init__(self)
            built.append(arguments)

    register("han")(Recorder)
    assert isinstance(build_target(settings, teacher, text), Recorder)
    assert built == [(settings, teacher, text)]
