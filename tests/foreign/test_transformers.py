import shutil

import pytest
import torch
from foreign.guides import run_guide
from foreign.watch import Watch, same_bits
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

import redense
from redense.integrations.transformers import DSDCallback

pytestmark = pytest.mark.foreign

SETTINGS = {
    "learning_rate": 1e-2,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "use_cpu": True,
    "report_to": [],
    "disable_tqdm": True,
    "weight_decay": 0.0,
}


def llama():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=32, max_position_embeddings=16, tie_word_embeddings=True, **sizes))


def dataset():
    tokens = torch.randint(0, 32, (16, 8), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": row, "labels": row} for row in tokens]


def watch(model):
    layer = model.model.layers[0]
    return Watch(q=layer.self_attn.q_proj.weight, down=layer.mlp.down_proj.weight)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The guide's training, in a folder, with what was seen of it."""
    folder, model = tmp_path_factory.mktemp("trained"), llama()
    names = {"folder": str(folder), "dataset": dataset(), "settings": SETTINGS}
    with watch(model).looking() as seen:
        run_guide("transformers", "Training", model=model, **names)
    return folder, model, seen


def test_the_guide(trained):
    _, model, seen = trained
    seen.check((40, None, 1), (20, 0.5, 1), (20, None, 0.1))
    assert not (model.model.embed_tokens.weight == 0).any()


def test_a_checkpoint_that_has_moved(trained, tmp_path):
    folder, whole, seen = trained
    shutil.copytree(folder / "checkpoint-50", tmp_path / "moved")  # in the sparse phase
    model = llama()
    arguments = TrainingArguments(str(tmp_path / "elsewhere"), num_train_epochs=40, **SETTINGS)
    names = {"arguments": arguments, "dataset": dataset(), "checkpoint": str(tmp_path / "moved")}
    with watch(model).looking() as rest:
        run_guide("transformers", "Resuming", model=model, Trainer=Trainer, DSDCallback=DSDCallback, **names)
    assert len(rest.steps) == 30
    assert torch.equal(rest.steps[0].zeros[0]["down"], seen.steps[50].zeros[0]["down"])
    assert same_bits(model, whole)


def test_the_folder_in_the_arguments_is_found(trained, tmp_path):
    folder, whole, _ = trained
    checkpoint = str(folder / "checkpoint-76")
    settings = {**SETTINGS, "resume_from_checkpoint": checkpoint}
    model = llama()
    arguments = TrainingArguments(str(tmp_path / "elsewhere"), num_train_epochs=40, **settings)
    callback = DSDCallback(sparsity=0.5, epochs=(20, 10, 10), exclude=["lm_head"])
    trainer = Trainer(model, arguments, train_dataset=dataset(), callbacks=[callback])
    trainer.train(resume_from_checkpoint=arguments.resume_from_checkpoint)
    assert same_bits(model, whole)


@pytest.mark.parametrize("there", [False, True])
def test_phases_of_another_checkpoint_are_refused(trained, tmp_path, there):
    """Where the trainer's own checkpoint would be there is none, or that of another training."""
    folder, _, _ = trained
    own = tmp_path / "checkpoint-50"
    own.mkdir()
    if there:
        with safe_open(folder / "checkpoint-50" / "dsd.safetensors", framework="pt") as file:
            turned = {name: ~file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            save_file(turned, own / "dsd.safetensors", file.metadata())
    arguments = TrainingArguments(str(tmp_path), num_train_epochs=40, **SETTINGS)
    callback = DSDCallback(sparsity=0.5, epochs=(20, 10, 10), exclude=["lm_head"])
    trainer = Trainer(llama(), arguments, train_dataset=dataset(), callbacks=[callback])
    message = "masks in .* are not those of the model" if there else "dsd.safetensors is missing.*resume_from=folder"
    with pytest.raises(redense.TrainingError, match=message):
        trainer.train(resume_from_checkpoint=str(folder / "checkpoint-50"))


@pytest.mark.parametrize("optim", ["adamw_bnb_8bit", "schedule_free_adamw", "adafactor"])
def test_the_trainers_other_optimizers(optim, tmp_path):
    model = llama()
    settings = {**SETTINGS, "optim": optim, "lr_scheduler_type": "constant", "save_strategy": "no"}
    callback = DSDCallback(sparsity=0.5, epochs=(2, 3, 2))
    with watch(model).looking() as seen:
        arguments = TrainingArguments(str(tmp_path), num_train_epochs=7, **settings)
        Trainer(model, arguments, train_dataset=dataset(), callbacks=[callback]).train()
    zeros = [step.zeros[-1]["down"] for step in seen.steps]
    assert not any(found.any() for found in zeros[:4])
    assert all(torch.equal(found, zeros[4]) and int(found.sum()) == 16 * 32 // 2 for found in zeros[4:10])
    assert int(zeros[-1].sum()) < 10
