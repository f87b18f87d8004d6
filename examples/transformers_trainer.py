"""DSD as a callback of the Hugging Face Trainer: a small BERT, from scratch, learns to tell sequences apart.

pip install 'redense[transformers]' && python examples/transformers_trainer.py

Prints the phase and the zeros of an inner layer after every epoch: none, half in the two sparse epochs, none again.
"""

import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

from redense.integrations.transformers import DSDCallback


class Sequences(torch.utils.data.Dataset):
    """Label 1 where the first and the last token agree."""

    def __init__(self, count):
        self.tokens = torch.randint(2, 6, (count, 8), generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        tokens = self.tokens[index]
        return {"input_ids": tokens, "labels": int(tokens[0] == tokens[-1])}


class PrintPhase(TrainerCallback):
    def on_epoch_end(self, args, state, control, model, **objects):
        weight = model.bert.encoder.layer[0].intermediate.dense.weight
        zeros = (weight == 0).float().mean().item()
        print(f"epoch {state.epoch:.0f}: {dsd.dsd.phase.label}, {100 * zeros:.1f}% zeros in an inner layer")


config = BertConfig(
    vocab_size=8,
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=8,
)
dsd = DSDCallback(sparsity=0.5, epochs=(3, 2, 2))
with tempfile.TemporaryDirectory() as folder:
    trainer = Trainer(
        BertForSequenceClassification(config),
        TrainingArguments(
            folder, num_train_epochs=7, learning_rate=2e-3, use_cpu=True, report_to=[], disable_tqdm=True
        ),
        train_dataset=Sequences(512),
        callbacks=[dsd, PrintPhase()],
    )
    trainer.train()
