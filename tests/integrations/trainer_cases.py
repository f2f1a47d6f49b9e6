"""A stranger's model under the real Lightning and the real Trainer of transformers, with our callbacks."""

import pytest
import torch
from host_samples import PREFIX, Host, make_examples, make_host
from torch.utils.data import DataLoader, Dataset, TensorDataset

from opentrans.config import FreezeRecipe

HALF = FreezeRecipe(method="alpha", ratio=0.5, estimator="released")
lightning = pytest.importorskip("lightning.pytorch", reason="lightning is not installed: pip install lightning")


class LitHost(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.host = Host()
        self.host.backbone.clip_model.visual.attnpool.requires_grad_(False)  # takes no part in the loss

    def training_step(self, batch, _):
        return self.host(*batch)["loss"]

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 1e-2, weight_decay=0.1)


def fit(folder, callbacks, steps, resume=None, processes=1):
    """Every process sees all batches."""
    module = LitHost()
    trainer = lightning.Trainer(
        max_steps=steps, accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto",
        default_root_dir=folder, logger=False, gradient_clip_val=0.1, use_distributed_sampler=False,
        enable_progress_bar=False, enable_model_summary=False,
        callbacks=[lightning.callbacks.ModelCheckpoint(folder, "step-{step}", every_n_train_steps=1, save_top_k=-1),
                   *callbacks],
    )  # fmt: skip
    loader = DataLoader(TensorDataset(*make_examples()), 4, num_workers=0)
    trainer.fit(module, loader, ckpt_path=resume, weights_only=True if resume else None)
    return module


def lightning_callbacks(subnetwork, start):
    from opentrans.integrations.lightning import LightningFreezePlanCallback, LightningSubnetworkCallback

    prefix = f"host.{PREFIX}"
    plan = LightningFreezePlanCallback(HALF, start=start, prefix=prefix)
    return [LightningSubnetworkCallback(subnetwork, prefix), plan]


class Images(Dataset):
    def __init__(self):
        self.images, self.labels = make_examples()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"images": self.images[index], "labels": self.labels[index]}


def train_huggingface(folder, subnetwork, steps, resume=None, restore=False):
    """Every process sees all batches."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate", reason="accelerate is not installed: pip install accelerate")
    from opentrans.integrations.huggingface import FreezePlanCallback, SubnetworkCallback

    class Trainer(transformers.Trainer):
        def get_train_dataloader(self):
            return DataLoader(self.train_dataset, 4)

    arguments = transformers.TrainingArguments(
        str(folder), max_steps=steps, save_steps=1, per_device_train_batch_size=4, learning_rate=1e-2, use_cpu=True,
        weight_decay=0.1, max_grad_norm=0.1, report_to=[], disable_tqdm=True, seed=0, lr_scheduler_type="constant",
        remove_unused_columns=False, restore_callback_states_from_checkpoint=restore, logging_steps=100,
        ddp_find_unused_parameters=False,
    )  # fmt: skip
    model = make_host()
    model.backbone.clip_model.visual.attnpool.requires_grad_(False)  # takes no part in the loss
    callbacks = [SubnetworkCallback(subnetwork, PREFIX), FreezePlanCallback(HALF, start=2, prefix=PREFIX)]
    trainer = Trainer(model, arguments, train_dataset=Images(), callbacks=callbacks)
    trainer.train(resume_from_checkpoint=resume)
    return model
