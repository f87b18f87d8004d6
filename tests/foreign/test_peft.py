import peft
import pytest
import torch
from foreign.guides import run_guide
from foreign.watch import Watch, same_bits
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, Trainer, TrainingArguments

import redense
from redense.integrations.transformers import DSDCallback
from redense.sparsity.zeros import fraction_of_zeros

pytestmark = pytest.mark.foreign

TOKENS = torch.randint(0, 32, (2, 4, 8), generator=torch.Generator().manual_seed(0))
LORA = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"])


def llama():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=32, max_position_embeddings=16, **sizes))


def loss_fn(model, tokens):
    return model(input_ids=tokens, labels=tokens).loss


def test_the_guide_prunes_the_frozen_base_and_leaves_adapters_alone():
    model = llama()
    attention = model.model.layers[0].self_attn
    base = {"q": attention.q_proj.weight, "v": attention.v_proj.weight}
    before = {name: weight.detach().clone() for name, weight in base.items()}
    zeros = []

    def batches():
        for tokens in TOKENS:
            yield tokens
            zeros.append({name: weight == 0 for name, weight in base.items()})

    class Loader:
        def __iter__(self):
            return batches()

    names = run_guide("peft", "Training", model=model, loader=Loader(), loss_fn=loss_fn)
    dsd = names["dsd"]
    assert len(zeros) == 80
    assert not any(zero.any() for step in zeros[:20] for zero in step.values())
    for name, weight in base.items():
        assert all(torch.equal(step[name], zeros[20][name]) for step in zeros[20:])
        assert int((weight == 0).sum()) == weight.numel() // 2
        kept = weight != 0
        assert torch.equal(weight[kept], before[name][kept]), "frozen"
    assert sorted(dsd.masks) == [f"model.layers.0.self_attn.{name}_proj.weight" for name in ("q", "v")]
    adapter = names["model"].base_model.model.model.layers[0].self_attn.q_proj.lora_B["default"].weight
    assert not (adapter == 0).any(), "the adapter has been trained, and is whole"
    merged = run_guide("peft", "Merging", **{name: names[name] for name in ("model", "dsd")})["merged"]
    for name, weight in {"q": "q_proj", "v": "v_proj"}.items():
        found = getattr(merged.model.layers[0].self_attn, weight).weight
        assert torch.equal(found == 0, zeros[-1][name])
    assert isinstance(merged, LlamaForCausalLM)


def test_merging_makes_it_dense_until_the_masks_are_applied():
    model = peft.get_peft_model(llama(), LORA)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-2)
    dsd = redense.DSD(model, optimizer, phases=[redense.phases.sparse(2, 0.5)], include=["*.q_proj"])
    for _ in dsd.epochs():
        loss_fn(model, TOKENS[0]).backward()
        optimizer.step()
    merged = model.merge_and_unload()
    weight = merged.model.layers[0].self_attn.q_proj.weight
    assert not (weight == 0).any()
    dsd.apply_masks(merged)
    assert int((weight == 0).sum()) == weight.numel() // 2


def test_what_is_trained_beside_the_adapters_is_pruned_by_default():
    """modules_to_save are ordinary layers that train; the rest is frozen or an adapter."""
    model = peft.get_peft_model(llama(), peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"]))
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-2)
    dsd = redense.DSD(model, optimizer, sparsity=0.5, epochs=(1, 1, 1))
    head = model.base_model.model.lm_head.modules_to_save["default"].weight
    with Watch(head=head).looking() as seen:
        for _ in dsd.epochs():
            for tokens in TOKENS:
                optimizer.zero_grad()
                loss_fn(model, tokens).backward()
                optimizer.step()
    seen.check((2, None, 1), (2, 0.5, 1), (2, None, 0.1))


def test_a_state_fits_the_model_with_and_without_adapters():
    states = []
    for _ in range(2):
        model = peft.get_peft_model(llama(), LORA)
        optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-2)
        dsd = redense.DSD(model, optimizer, phases=[redense.phases.sparse(3, 0.5)], include=["*.q_proj"])
        if states:
            dsd.load_state_dict(states[0])
            loss_fn(model, TOKENS[0]).backward()
        else:
            dsd.start()
        states.append(dsd.state_dict(within_epoch=True))
    first, second = (state["masks"] for state in states)
    assert list(first) == list(second) == ["model.layers.0.self_attn.q_proj.weight"]
    assert all(torch.equal(first[name], second[name]) for name in first)


def trainer_fit(folder, resume=None):
    model = peft.get_peft_model(llama(), LORA)
    rows = [{"input_ids": row, "labels": row} for row in TOKENS.flatten(0, 1)]
    callback = DSDCallback(phases=[redense.phases.dense(1), redense.phases.sparse(3, 0.5)], include=["*.q_proj"])
    settings = {"learning_rate": 1e-2, "use_cpu": True, "report_to": [], "disable_tqdm": True}
    arguments = TrainingArguments(str(folder), num_train_epochs=4, save_strategy="epoch", **settings)
    Trainer(model, arguments, train_dataset=rows, callbacks=[callback]).train(resume_from_checkpoint=resume)
    return model


def test_the_trainers_checkpoints_hold_adapters_alone_and_the_base_is_pruned_again(tmp_path):
    whole = trainer_fit(tmp_path)
    resumed = trainer_fit(tmp_path, resume=str(tmp_path / "checkpoint-2"))
    weight = resumed.base_model.model.model.layers[0].self_attn.q_proj.base_layer.weight
    assert int((weight == 0).sum()) == weight.numel() // 2
    assert same_bits(resumed, whole)


def test_a_head_that_is_trained_whole_has_the_layers_name():
    """PEFT trains a copy of it beside the adapters, for classification unasked; merged, it is the layer itself."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForSequenceClassification(LlamaConfig(vocab_size=32, pad_token_id=0, **sizes))
    config = peft.LoraConfig(task_type=peft.TaskType.SEQ_CLS, r=4, target_modules=["q_proj", "v_proj"])
    adapted = peft.get_peft_model(model, config)
    optimizer = torch.optim.AdamW((p for p in adapted.parameters() if p.requires_grad), lr=1e-2)
    phases = [redense.phases.sparse(2, 0.5)]
    dsd = redense.DSD(adapted, optimizer, phases=phases, include=["score", "*.q_proj"])
    names = ["model.layers.0.self_attn.q_proj.weight", "score.weight"]
    for _ in dsd.epochs():
        assert sorted(dsd.masks) == names
        adapted(input_ids=TOKENS[0], labels=torch.zeros(4, dtype=torch.long)).loss.backward()
        optimizer.step()
    assert (adapted.base_model.model.score.original_module.weight != 0).all()
    merged = adapted.merge_and_unload()
    dsd.apply_masks(merged)
    for name in names:
        assert fraction_of_zeros([merged.get_parameter(name)]) == 0.5
