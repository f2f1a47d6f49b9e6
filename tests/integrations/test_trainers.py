"""The callbacks under the real Lightning and the real Trainer of transformers."""

import pytest
import torch
from host_samples import PREFIX, Host, count_revived, make_examples, make_host, make_subnetwork
from torch.utils.data import DataLoader, TensorDataset

from opentrans.config import FreezeRecipe
from opentrans.errors import UserError

HALF = FreezeRecipe(method="alpha", ratio=0.5, estimator="released")
lightning = pytest.importorskip("lightning.pytorch", reason="lightning is not installed: pip install lightning")


class LitHost(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.host = Host()

    def training_step(self, batch, _):
        return self.host(*batch)["loss"]

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 1e-2, weight_decay=0.1)


def fit(folder, callbacks, steps, resume=None, module=None):
    module = module or LitHost()
    trainer = lightning.Trainer(
        max_steps=steps, accelerator="cpu", devices=1, default_root_dir=folder, logger=False, gradient_clip_val=0.1,
        enable_progress_bar=False, enable_model_summary=False,
        callbacks=[lightning.callbacks.ModelCheckpoint(folder, "step-{step}", every_n_train_steps=1, save_top_k=-1),
                   *callbacks],
    )  # fmt: skip
    loader = DataLoader(TensorDataset(*make_examples()), 4, num_workers=0)
    trainer.fit(module, loader, ckpt_path=resume, weights_only=True if resume else None)
    return module


def lightning_callbacks(subnetwork, start):
    from opentrans.integrations.lightning import FreezePlanCallback, SubnetworkCallback

    prefix = f"host.{PREFIX}"
    return [SubnetworkCallback(subnetwork, prefix), FreezePlanCallback(HALF, start=start, prefix=prefix)]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_lightning_keeps_masks_and_plan_over_training_checkpoint_and_resume(tmp_path, subnetwork):
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


class Images(torch.utils.data.Dataset):
    def __init__(self):
        self.images, self.labels = make_examples()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"images": self.images[index], "labels": self.labels[index]}


def train_huggingface(folder, subnetwork, steps, resume=None, restore=False):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate", reason="accelerate is not installed: pip install accelerate")
    from opentrans.integrations.huggingface import FreezePlanCallback, SubnetworkCallback

    arguments = transformers.TrainingArguments(
        str(folder), max_steps=steps, save_steps=1, per_device_train_batch_size=4, learning_rate=1e-2, use_cpu=True,
        weight_decay=0.1, max_grad_norm=0.1, report_to=[], disable_tqdm=True, seed=0, lr_scheduler_type="constant",
        remove_unused_columns=False, restore_callback_states_from_checkpoint=restore, logging_steps=100,
    )  # fmt: skip
    model = make_host()
    callbacks = [SubnetworkCallback(subnetwork, PREFIX), FreezePlanCallback(HALF, start=2, prefix=PREFIX)]
    trainer = transformers.Trainer(model, arguments, train_dataset=Images(), callbacks=callbacks)
    trainer.train(resume_from_checkpoint=resume)
    return model


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
