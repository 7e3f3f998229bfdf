"""Other people's training loops, as the example notebook shows them, with the real packages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from watched import X, Y, made

from utils import watch

NOTEBOOK = Path(__file__).parents[1] / "examples" / "Your_network.ipynb"

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("default")]


def run_example(package, **given):
    """Run the lines of the notebook that import a package, and return the plane that they make."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (example,) = (lines for lines in examples if f"import {package}\n" in lines)
    # Imports, class and calls: as short as promised.
    assert len([line for line in example.splitlines() if line]) <= 12
    names = {"watch": watch, **given}
    exec(example, names)
    return names["plane"]


def test_lightning_calls_it(tmp_path, monkeypatch):
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

    monkeypatch.chdir(tmp_path)  # where its logs and checkpoints go
    module = made(Network)
    loader = DataLoader(TensorDataset(X, Y), batch_size=50)
    plane = run_example("lightning", module=module, x_test=X, y_test=Y, train_loader=loader)
    results = plane.results()
    assert results["epochs"].tolist() == list(range(1, 11))
    assert results["layers"] == ["body.0", "body.1", "body.2"]
    for name in ("information_x", "information_y"):
        assert np.isfinite(results[name]).all()
    assert not any(part._forward_hooks for part in module.modules())


def test_the_trainer_of_hugging_face_calls_it(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    tokenizers = pytest.importorskip("tokenizers")
    words = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "one", "two", "three", "four"])}
    model = tokenizers.models.WordLevel(words, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=9
    )
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list(words)[2:], rng.integers(2, 9))) for _ in Y]
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        num_labels=3,
    )
    tokens = tokenizer(texts, padding="max_length", truncation=True)
    dataset = [
        {"input_ids": ids, "attention_mask": mask, "labels": int(label)}
        for ids, mask, label in zip(tokens["input_ids"], tokens["attention_mask"], Y, strict=True)
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
    plane = run_example(
        "transformers",
        model=made(lambda: transformers.BertForSequenceClassification(config)),
        tokenizer=tokenizer,
        texts=texts,
        labels=Y,
        arguments=arguments,
        dataset=dataset,
    )
    results = plane.results()
    assert results["epochs"].tolist() == [1, 2]
    assert results["layers"] == ["bert.encoder.layer.0", "bert.encoder.layer.1", "classifier"]
    assert np.isfinite(results["information_y"]).all()
    assert np.isfinite(results["information_between"][:, :-1]).all()
    assert np.isnan(results["information_x"]).all()
