"""Other people's training loops call what `watch` makes, as the example notebook shows it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from watched import N, X, Y, made

from utils import (
    watch,
)


@pytest.mark.long
@pytest.mark.filterwarnings("default")
def test_lightning_calls_it(tmp_path):
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")

    class Network(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

        def forward(self, x):
            return self.body(x)

        def training_step(self, batch, batch_number):
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    class Watch(lightning.Callback):
        def __init__(self, plane):
            self.plane = plane

        def on_train_epoch_end(self, trainer, module):
            self.plane(trainer.current_epoch + 1, module)

    model = made(Network)
    plane = watch(model, X, Y, layers=["body.*"], n_projections=20, rng=0)
    trainer = lightning.Trainer(
        max_epochs=3,
        callbacks=[Watch(plane)],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(TensorDataset(X, Y), batch_size=50))
    assert plane.results()["epochs"].tolist() == [1, 2, 3]
    assert plane.results()["layers"] == ["body.0", "body.1", "body.2"]
    assert np.isfinite(plane.results()["information_y"]).all()


@pytest.mark.long
@pytest.mark.filterwarnings("default")
def test_the_trainer_of_hugging_face_calls_it(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        num_labels=3,
    )
    model = made(lambda: transformers.BertForSequenceClassification(config))
    ids = torch.randint(50, (N, 9), generator=torch.Generator().manual_seed(0))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    class Watch(transformers.TrainerCallback):
        def __init__(self, plane):
            self.plane = plane

        def on_epoch_end(self, args, state, control, model=None, **others):
            self.plane(round(state.epoch), model)

    layers = ["bert.encoder.layer.*", "classifier"]
    plane = watch(model, inputs, Y, layers=layers, pool="first", n_projections=20, rng=0)
    examples = [
        {"input_ids": row, "attention_mask": torch.ones_like(row), "labels": int(label)}
        for row, label in zip(ids, Y, strict=True)
    ]
    arguments = transformers.TrainingArguments(
        output_dir=tmp_path,
        num_train_epochs=2,
        per_device_train_batch_size=50,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    transformers.Trainer(model, arguments, train_dataset=examples, callbacks=[Watch(plane)]).train()
    results = plane.results()
    assert results["epochs"].tolist() == [1, 2]
    assert results["layers"] == ["bert.encoder.layer.0", "bert.encoder.layer.1", "classifier"]
    assert np.isfinite(results["information_y"]).all()
    assert np.isnan(results["information_x"]).all()
