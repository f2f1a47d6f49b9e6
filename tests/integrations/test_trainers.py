"""The callbacks under the real Lightning and the real Trainer of transformers."""

import pytest
import torch
from host_samples import PREFIX, count_revived, make_subnetwork
from trainer_cases import fit, lightning_callbacks, train_huggingface

from opentrans.errors import UserError


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_lightning_keeps_masks_and_plan_over_checkpoint_and_resume(tmp_path, subnetwork):
    straight = fit(tmp_path / "straight", lightning_callbacks(subnetwork, 2), 5)
    assert count_revived(straight, subnetwork, f"host.{PREFIX}") == 0
    paths = sorted((tmp_path / "straight").glob("*.ckpt"))
    assert len(paths) == 5
    for path in paths:
        saved = torch.load(path, weights_only=True)["state_dict"]
        assert count_revived(saved, subnetwork, f"host.{PREFIX}") == 0
    frozen = {name for name, weight in straight.named_parameters() if not weight.requires_grad}
    assert len(frozen) > 5

    fit(tmp_path / "parts", lightning_callbacks(subnetwork, 2), 3)
    last = max((tmp_path / "parts").glob("*.ckpt"))
    resumed = fit(tmp_path / "parts", lightning_callbacks(subnetwork, 2), 5, resume=last)
    assert {name for name, weight in resumed.named_parameters() if not weight.requires_grad} == frozen
    state = resumed.state_dict()
    for name, value in straight.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=0, msg=name)
    with pytest.raises(UserError, match="trained with another subnetwork"):
        fit(tmp_path / "parts", lightning_callbacks(make_subnetwork(seed=8), 2), 5, resume=last)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("restore", [False, True])
def test_the_trainer_of_transformers_keeps_masks_and_plan(tmp_path, subnetwork, restore):
    from safetensors.torch import load_file

    straight = train_huggingface(tmp_path / "straight", subnetwork, 5)
    assert count_revived(straight, subnetwork) == 0
    for step in range(1, 6):
        saved = load_file(tmp_path / f"straight/checkpoint-{step}/model.safetensors")
        assert count_revived(saved, subnetwork) == 0
    frozen = {name for name, weight in straight.named_parameters() if not weight.requires_grad}
    assert len(frozen) > 5

    train_huggingface(tmp_path / "parts", subnetwork, 3)
    checkpoint = str(tmp_path / "parts/checkpoint-3")
    resumed = train_huggingface(tmp_path / "parts", subnetwork, 5, checkpoint, restore)
    assert {name for name, weight in resumed.named_parameters() if not weight.requires_grad} == frozen
    state = resumed.state_dict()
    for name, value in straight.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=0, msg=name)
    with pytest.raises(UserError, match="outside the masks are not zero"):
        train_huggingface(tmp_path / "parts", make_subnetwork(seed=8), 5, checkpoint)
