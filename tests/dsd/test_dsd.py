import copy
import io

import pytest
import torch
from dsd.steps import linear_layer, state_of, train_step, zeros
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn, optim
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

from redense import DSD, ModelError, RedenseError, TrainingError, patterns, saliency, schedules
from redense.methods import prune
from redense.sparsity.parameters import named
from redense.sparsity.zeros import fraction_of_zeros


def linear(seed=0, **options):
    lengths = {} if "steps" in options else {"epochs": (1, 1, 1)}
    return linear_layer(seed, sparsity=0.5, **{**lengths, **options})


@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW, optim.Adagrad, optim.Rprop])
def test_phases_masks_and_rounds(kind):
    model = nn.Linear(10, 2)
    optimizer = kind(model.parameters(), 0.01)
    dsd = DSD(model, optimizer, sparsity=0.5, epochs=(2, 2, 1), rounds=2)
    seen = []
    for epoch in dsd.epochs():
        train_step(model, optimizer, epoch)
        seen.append((epoch, dsd.phase.label, zeros(model)))
    assert seen == [
        (0, "dense", 0),
        (1, "dense", 0),
        (2, "sparse 50%", 10),
        (3, "sparse 50%", 10),
        (4, "re-dense 50%", 0),
        (5, "sparse 50% (round 2)", 10),
        (6, "sparse 50% (round 2)", 10),
        (7, "re-dense 50% (round 2)", 0),
    ]
    assert dsd.finished


def test_steps_move_through_the_phases_without_a_generator():
    model, optimizer, dsd = linear(steps=(2, 3, 2))
    seen = []
    for number in range(9):
        seen.append(dsd.phase.kind)
        train_step(model, optimizer, number)
    assert seen == ["dense"] * 2 + ["sparse"] * 3 + ["redense"] * 4
    assert dsd.finished
    assert not dsd.masks


def test_steps_count_what_the_optimizer_did():
    model, optimizer, dsd = linear(steps=(1, 2, 1))
    seen = []
    for number in dsd.steps():
        if len(seen) % 2:  # every other turn makes a step, as with accumulated gradients
            train_step(model, optimizer, number)
        seen.append(number)
    assert seen == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_step_that_only_makes_the_optimizers_state_does_not_count():
    model, optimizer, dsd = linear(steps=(1, 2, 1))
    get_optimizer_state_dict(model, optimizer)  # steps at rate 0 with gradients of 0
    assert optimizer.state
    assert dsd.progress == 0
    optimizer.param_groups[0]["lr"] = 0.0  # as a warm-up may begin
    train_step(model, optimizer, 0)
    assert dsd.progress == 1


def test_no_dense_epochs_for_a_model_already_trained():
    model, optimizer, dsd = linear(epochs=(0, 1, 1))
    assert zeros(model) == 0, "nothing happens before the start"
    kinds = []
    for epoch in dsd.epochs():
        kinds.append(dsd.phase.kind)
        train_step(model, optimizer, epoch)
    assert kinds == ["sparse", "redense"]


@pytest.mark.parametrize("kind", ["number", "tensor"])
def test_the_rate_factor_multiplies_the_schedulers_rate_unseen(kind):
    model = nn.Linear(10, 2, bias=False)
    optimizer = optim.SGD(model.parameters(), lr=1.0 if kind == "number" else torch.tensor(1.0))
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    dsd = DSD(model, optimizer, sparsity=0.5, epochs=(1, 1, 1), rates=(1.0, 1.0, 0.1))
    moved = []
    for _ in dsd.epochs():
        before = model.weight.detach().clone()
        optimizer.zero_grad()
        model.weight.sum().backward()  # a gradient of one everywhere
        optimizer.step()
        moved.append((before - model.weight).detach().max().item())
        scheduler.step()
    assert moved == pytest.approx([1.0, 0.5, 0.025], rel=1e-5)
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.125)


def test_a_step_that_fails_does_not_change_the_rate():
    model, optimizer, dsd = linear(epochs=(1, 1, 1), rates=(0.5, 1, 0.1))
    for epoch in dsd.epochs():
        with pytest.raises(ZeroDivisionError):
            optimizer.step(lambda: 1 / 0)
        train_step(model, optimizer, epoch)
        assert optimizer.param_groups[0]["lr"] == 0.01


@pytest.mark.parametrize(("moments", "expected"), [("reset", [1, 2, 1, 1]), ("keep", [1, 2, 3, 4])])
def test_moments_at_the_boundaries(moments, expected):
    model, optimizer, dsd = linear(epochs=(2, 1, 1), moments=moments)
    steps = []
    for epoch in dsd.epochs():
        if dsd.phase.kind == "sparse":
            for moment in ("exp_avg", "exp_avg_sq"):
                kept = optimizer.state[model.weight][moment] if moments == "keep" else torch.zeros(2, 10)
                assert not kept[~dsd.masks["weight"]].any()
        train_step(model, optimizer, epoch)
        steps.append(int(optimizer.state[model.weight]["step"]))
    assert steps == expected


def test_moments_a_user_brings_along_survive_the_start():
    model, optimizer, dsd = linear()
    dsd.remove()
    train_step(model, optimizer, 0)
    next(DSD(model, optimizer, **SETTINGS).epochs())
    assert optimizer.state


def test_adagrad_starts_again_from_its_initial_sum():
    model = nn.Linear(10, 2)
    optimizer = optim.Adagrad(model.parameters(), initial_accumulator_value=0.5)
    for epoch in DSD(model, optimizer, sparsity=0.5, epochs=(1, 1, 1)).epochs():
        if epoch == 2:
            assert (optimizer.state[model.weight]["sum"] == 0.5).all()
            assert optimizer.state[model.weight]["step"] == 0
        train_step(model, optimizer, epoch)


def test_gradual_pruning_is_nested_and_ends_at_the_sparsity():
    model, optimizer, dsd = linear(epochs=(1, 8, 1), schedule=schedules.Cubic(every=2))
    counts, before = [], torch.zeros(2, 10, dtype=torch.bool)
    for epoch in dsd.epochs():
        train_step(model, optimizer, epoch)
        if dsd.phase.kind == "sparse":
            pruned = ~dsd.masks["weight"]
            assert (pruned | ~before).all()
            counts.append(int(pruned.sum()))
            before = pruned
    # Zhu & Gupta, equation 1, by hand: T = 6, updates at 0, 2, 4, 6: 20 * 0.5 * (1 - (1 - t/6)^3) = 0, 7.04, 9.63, 10
    assert counts == [0, 0, 7, 7, 10, 10, 10, 10]


def test_gradual_pruning_by_chance_never_brings_a_weight_back():
    def another_each_time(model, parameters):
        return saliency.random(epoch)(model, parameters)

    model, optimizer, dsd = linear(epochs=(1, 8, 1), schedule=schedules.Cubic(), saliency=another_each_time)
    before = torch.zeros(2, 10, dtype=torch.bool)
    for epoch in dsd.epochs():
        train_step(model, optimizer, epoch)
        if dsd.phase.kind == "sparse":
            assert (~dsd.masks["weight"] | ~before).all()
            before = ~dsd.masks["weight"]
    assert before.sum() == 10


def test_explicit_sparsities_rise_in_proportion():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10))
    optimizer = optim.SGD(model.parameters(), 0.1)
    dsd = DSD(
        model,
        optimizer,
        sparsity=0.8,
        epochs=(0, 4, 1),
        schedule=schedules.Cubic(share=0.5),
        distribution={"0": 0.4},
    )
    counts = []
    for _ in dsd.epochs():
        if dsd.phase.kind == "sparse":
            counts.append(tuple(int((~mask).sum()) for mask in dsd.masks.values()))
        optimizer.step()
    assert counts == [(0, 0), (35, 70), (40, 80), (40, 80)]


@settings(max_examples=12)
@given(stop=st.integers(0, 9), model_first=st.booleans(), moments=st.sampled_from(["reset", "keep"]))
def test_resuming_at_any_step_gives_the_same_bits(stop, model_first, moments):
    options = {"steps": (2, 3, 2), "moments": moments, "schedule": schedules.Cubic(share=0.9), "rounds": 2}
    model, optimizer, dsd = linear(**options)
    for number in range(12):
        if number == stop:
            state = state_of(model, optimizer, dsd)
        train_step(model, optimizer, number)

    again, optimizer_again, dsd_again = linear(seed=1, **options)
    if not model_first:
        dsd_again.load_state_dict(state["dsd"])
    again.load_state_dict(state["model"])
    optimizer_again.load_state_dict(state["optimizer"])
    if model_first:
        dsd_again.load_state_dict(state["dsd"])
    for number in range(stop, 12):
        train_step(again, optimizer_again, number)
    assert torch.equal(model.weight, again.weight)
    assert dsd_again.finished


def train_epochs(model, optimizer, dsd, trained, until=None, batch=0, **settings):
    """Train two batches an epoch, with a scheduler beside; stop before `until` = (epoch, batch) and return all states.

    The last state is the one that a script saves: at the end of the body, or with `within_epoch` between batches.
    """
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    if "scheduler" in settings:
        scheduler.load_state_dict(settings.pop("scheduler"))
    for epoch in dsd.epochs(**settings):
        trained.append(epoch)
        for number in range(batch, 2):
            if until == (epoch, number) and number:
                return {**state_of(model, optimizer, dsd), "scheduler": scheduler.state_dict()}, dsd.state_dict
            train_step(model, optimizer, 2 * epoch + number)
        batch = 0
        scheduler.step()
        if until == (epoch, 2):
            return {**state_of(model, optimizer, dsd), "scheduler": scheduler.state_dict()}, dsd.state_dict
    return None


@settings(max_examples=20)
@given(
    epoch=st.integers(0, 6),
    batch=st.sampled_from([1, 2]),
    overruled=st.booleans(),
    first=st.sampled_from([0, 1]),
    moments=st.sampled_from(["reset", "keep"]),
)
def test_resuming_in_or_after_any_epoch_gives_the_same_bits(epoch, batch, overruled, first, moments):
    """What was trained is not trained again, whether the state or the script says where to go on."""
    options = {"epochs": (2, 2, 1), "rounds": 2, "moments": moments}
    whole, optimizer, dsd = linear(**options)
    train_epochs(whole, optimizer, dsd, [])

    model, optimizer, dsd = linear(**options)
    trained = []
    state, take = train_epochs(model, optimizer, dsd, trained, until=(epoch, batch))
    if not overruled:
        state["dsd"] = take(within_epoch=batch == 1)
    again, optimizer_again, dsd_again = linear(seed=1, **options)
    again.load_state_dict(state["model"])
    optimizer_again.load_state_dict(state["optimizer"])
    dsd_again.load_state_dict(state["dsd"])
    coming = epoch + (batch == 2)
    place = {"start": coming} if overruled else {}
    train_epochs(again, optimizer_again, dsd_again, trained, batch=batch % 2, scheduler=state["scheduler"], **place)
    assert trained == [*range(epoch + 1), *range(coming, 8)]
    assert torch.equal(whole.weight, again.weight)


def test_scripts_that_count_from_one():
    model, optimizer, dsd = linear()
    seen = []
    for epoch in dsd.epochs(first=1):
        seen.append(epoch)
        train_step(model, optimizer, epoch)
        if epoch == 2:
            break
    state = dsd.state_dict()
    for number in (2, 3):  # the state's own epoch, and the one after it
        _, _, dsd = linear()
        dsd.load_state_dict(state)
        assert next(dsd.epochs(number, first=1)) == number
        assert f"epochs {number} to {number} of 3" in str(dsd), "lines count as the script does"
    _, _, dsd = linear()
    dsd.load_state_dict(state)
    with pytest.raises(TrainingError, match=r"start: got epoch 1; expected 2 or 3 \(from 1\)"):
        next(dsd.epochs(1, first=1))


def test_a_start_that_does_not_fit():
    model, optimizer, dsd = linear(epochs=(2, 2, 1))
    with pytest.raises(TrainingError, match=r"start: got epoch 1; expected 0 \(from 0\)"):
        next(dsd.epochs(1))
    train_step(model, optimizer, next(dsd.epochs()))
    state = dsd.state_dict()
    _, _, dsd = linear(epochs=(2, 2, 1))
    dsd.load_state_dict(state)
    with pytest.raises(TrainingError, match=r"start: got epoch 2; expected 0 or 1"):
        next(dsd.epochs(2))


def test_an_epoch_without_a_step_is_an_error_but_for_the_first_after_resuming():
    _, _, dsd = linear()
    loop = dsd.epochs()
    next(loop)
    with pytest.raises(TrainingError, match="epoch 0 ended without a step of the optimizer that DSD was given"):
        next(loop)
    _, _, resumed = linear()
    resumed.load_state_dict(dsd.state_dict())
    loop = resumed.epochs()
    assert [next(loop), next(loop)] == [0, 1]
    with pytest.raises(TrainingError, match="epoch 1 ended without a step"):
        next(loop)


def test_a_step_before_the_loop_is_an_error_as_long_as_somebody_wants_the_loop():
    model, optimizer, dsd = linear()
    state = dsd.state_dict()
    get_optimizer_state_dict(model, optimizer)  # which makes an empty step
    with pytest.raises(TrainingError, match="DSD's loop has not begun; expected training in the body of `for epoch in"):
        train_step(model, optimizer, 0)
    del dsd
    with pytest.warns(UserWarning, match="a DSD was made for this optimizer and thrown away") as warned:
        train_step(model, optimizer, 0)
    assert [one.filename for one in warned] == [train_step.__code__.co_filename], "it is about who called"
    train_step(model, optimizer, 1)  # said once
    model, optimizer, dsd = linear()
    train_step(model, optimizer, next(dsd.epochs()))
    again, optimizer, resumed = linear()
    resumed.load_state_dict(dsd.state_dict())
    with pytest.raises(TrainingError, match="DSD's loop has not begun"):
        train_step(again, optimizer, 0)
    assert state["progress"] == 0


def test_masks_are_stored_as_bits():
    _, _, dsd = linear()
    next(dsd.epochs())
    bits = dsd.state_dict()["masks"]["weight"]
    assert (bits.dtype, tuple(bits.shape)) == (torch.uint8, (2, 2))  # ten bits are two bytes a row


def test_a_break_keeps_the_phase_and_remove_leaves_no_trace():
    model, optimizer, dsd = linear()
    for epoch in dsd.epochs():
        train_step(model, optimizer, epoch)
        if epoch == 1:
            break
    train_step(model, optimizer, 2)
    assert zeros(model) == 10
    assert next(dsd.epochs()) == 2, "the epoch that was broken off after a step is over"
    dsd.remove()
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert not model.weight._post_accumulate_grad_hooks
    assert not dsd.masks
    train_step(model, optimizer, 3)
    assert zeros(model) == 0


def test_copies_and_averages_know_nothing_of_dsd():
    model, optimizer, dsd = linear()
    average = optim.swa_utils.AveragedModel(model)
    for epoch in dsd.epochs():
        train_step(model, optimizer, epoch)
        average.update_parameters(model)
        twin = copy.deepcopy(model)
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        for other in (twin, loaded):
            assert list(other.state_dict()) == ["weight", "bias"]
            assert [name for name, _ in other.named_parameters()] == ["weight", "bias"]
            assert torch.equal(other.weight, model.weight)
            other(torch.ones(1, 10)).sum().backward()
            assert other.weight.grad.all(), "a copy is not masked"
        exported = torch.export.export(model, (torch.ones(1, 10),)).module()
        assert torch.equal(exported(torch.ones(1, 10)), model(torch.ones(1, 10)))


SETTINGS = {"sparsity": 0.5, "epochs": (1, 1, 1)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sparsity": 1.0}, "sparsity: got 1.0; expected a fraction"),
        ({"sparsity": "half"}, "sparsity: got 'half'; expected a fraction"),
        ({"sparsity": 0.99}, "leaves weight .20 weights. without any"),
        ({"epochs": (1, 1)}, "epochs: got .1, 1.; expected three integers"),
        ({"epochs": (1, 0, 1)}, "epochs: got .1, 0, 1.; .* 0 or more dense, at least 1 sparse and re-dense"),
        ({"epochs": (1, 1, 0.5)}, "epochs: got .* expected three integers"),
        ({"steps": (1, 1, 1)}, "got both or neither of epochs and steps"),
        ({"epochs": None}, "got both or neither of epochs and steps"),
        ({"rounds": 0}, "rounds: got 0; expected 1 to 10,000"),
        ({"rates": (1, 1, -0.1)}, "rates: got .* expected three finite factors"),
        ({"moments": "forget"}, "moments: got 'forget'; expected one of reset, keep"),
        ({"exclude": ["wieght"]}, "exclude: the pattern 'wieght' matches no layer; did you mean 'weight'?"),
        ({"preset": "article"}, "preset: got 'article'; expected one of default, everything, paper"),
        ({"distribution": "even"}, "distribution: got 'even'; expected uniform"),
        ({"distribution": {"wieght": 0.1}}, "distribution: the pattern 'wieght' matches no layer"),
        ({"distribution": {"weight": 1.0}}, "distribution: weight: got 1.0; expected a fraction"),
        ({"pattern": patterns.NofM(2, 4)}, "weight: got 10 inputs, which 4 does not divide"),
        ({"pattern": patterns.NofM(1, 5)}, "sparsity: got 0.5; expected 0.8, which 1 of 5 means"),
        ({"pattern": patterns.Block(4, 4)}, "weight: got a matrix of 2 by 10, which blocks of 4 by 4 do not divide"),
    ],
)
def test_bad_settings_change_nothing(changes, message):
    model = nn.Linear(10, 2)
    optimizer = optim.SGD(model.parameters(), 0.1)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RedenseError, match=message):
        DSD(model, optimizer, **{**SETTINGS, **changes})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not optimizer._optimizer_step_pre_hooks


def test_exclusions_from_an_iterator_last():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 2), nn.Linear(2, 2))
    dsd = DSD(model, optim.SGD(model.parameters(), 0.1), **SETTINGS, exclude=iter(["1"]))
    pruned = []
    for _ in dsd.epochs():
        pruned.append(set(dsd.masks))
        dsd.optimizer.step()
    assert pruned == [set(), {"0.weight"}, set()]


def test_an_unknown_setting_is_a_type_error():
    model = nn.Linear(10, 2)
    with pytest.raises(TypeError, match="sparcity"):
        DSD(model, optim.SGD(model.parameters(), 0.1), **SETTINGS, sparcity=0.5)


def test_an_optimizer_of_other_parameters():
    model = nn.Sequential(nn.Linear(10, 2), nn.Linear(2, 2))
    with pytest.raises(RedenseError, match=r"1.weight: the optimizer does not hold this parameter"):
        DSD(model, optim.SGD(model[0].parameters(), 0.1), **SETTINGS)
    assert DSD(model, optim.SGD(model[0].parameters(), 0.1), **SETTINGS, exclude=["1"])


def test_states_that_do_not_fit():
    _, _, dsd = linear()
    state = dsd.state_dict()
    cases = [
        ({**state, "format": 9}, "got format 9; expected 2"),
        ([], "got format list; expected 2"),
        ({"format": 2, "plan": state["plan"]}, "got a state without progress, started, over, told, masks"),
        ({**state, "progress": -5}, "got progress -5; expected 0 to 3 epochs"),
        (linear(rates=(1.0, 0.5, 0.01))[2].state_dict(), "got a state of .*; expected .*epochs"),
        (linear(epochs=(1, 1, 2))[2].state_dict(), "got a state of .*; expected .*epochs"),
        ({**state, "masks": {"other": torch.zeros(1)}}, "another model or selection; other, weight not in both"),
        ({**state, "masks": {"weight": torch.zeros(2, 5, dtype=torch.uint8)}}, "masks of another shape for weight"),
    ]
    for bad, message in cases:
        with pytest.raises(RedenseError, match=message):
            dsd.load_state_dict(bad)
    next(dsd.epochs())
    with pytest.raises(RedenseError, match="got a DSD that is running; load into a new one"):
        dsd.load_state_dict(state)


def test_a_state_of_another_selection():
    """It would hold at zero what is excluded here; only what was frozen in between may be more."""

    def made(frozen="", **selection):
        model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))
        if frozen:
            model.get_submodule(frozen).requires_grad_(False)
        return DSD(model, optim.SGD(model.parameters(), 0.1), sparsity=0.5, epochs=(1, 1, 1), **selection)

    state = made().state_dict()
    made().load_state_dict(state)
    made("0").load_state_dict(state)
    with pytest.raises(ModelError, match="got the state of another selection, which prunes"):
        made(exclude=["0"]).load_state_dict(state)
    with pytest.raises(ModelError, match="another model or selection; 0.weight not in both"):
        made().load_state_dict(made(exclude=["0"]).state_dict())


def test_calls_out_of_order():
    _, _, dsd = linear()
    with pytest.raises(RedenseError, match="expected one that is running; call start first"):
        dsd.advance()
    with pytest.raises(RedenseError, match="steps: got phases in epochs"):
        next(dsd.steps())


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_line_at_each_boundary(caplog):
    model, optimizer, dsd = linear(epochs=(1, 2, 1))
    with caplog.at_level("INFO", logger="redense"):
        for epoch in dsd.epochs():
            train_step(model, optimizer, epoch)
    assert [record.getMessage() for record in caplog.records] == [
        "DSD: dense, epochs 0 to 0 of 4, rate 0.01: 20 weights in 1 tensor are free",
        "DSD: sparse 50%, epochs 1 to 2 of 4, rate 0.01: 10 of 20 weights in 1 tensor are held at zero",
        "DSD: re-dense 50%, epochs 3 to 3 of 4, rate 0.001: 20 weights in 1 tensor are free",
    ]


@pytest.mark.parametrize(("verbose", "terminal", "lines"), [(True, True, 3), (True, False, 0), (False, True, 0)])
def test_without_logging_a_terminal_gets_the_lines(verbose, terminal, lines, monkeypatch):
    monkeypatch.setattr("logging.Logger.hasHandlers", lambda logger: False)
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    model, optimizer, dsd = linear(verbose=verbose)
    for epoch in dsd.epochs():
        train_step(model, optimizer, epoch)
    assert stream.getvalue().count("DSD: ") == lines
    assert str(dsd).startswith("DSD: over: 20 weights in 1 tensor are free")  # no phase, no rate of one


def test_what_is_large_and_stays_dense_is_said():
    model = nn.Sequential(nn.Embedding(50, 4), nn.Linear(4, 4))
    dsd = DSD(model, optim.SGD(model.parameters(), 0.1), **SETTINGS)
    assert str(dsd) == (
        "DSD: dense, epochs 0 to 0 of 3, rate 0.1: 16 weights in 1 tensor are free; left dense: 0.weight (91% of the "
        "parameters), which include=['0.weight'] would prune"
    )


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Parameter(torch.randn(2, 8, 8)), nn.Parameter(torch.randn(2, 8, 8))


@pytest.mark.parametrize(
    ("layers", "include", "pruned"),
    [
        ([Experts() for _ in range(8)], ["*.up", "*.down"], 17),
        ([nn.Embedding(9, 8)], ["1.weight"], 2),
        # a pattern of both would mean the small one as well
        ([nn.Embedding(size, 8) for size in (300, 300, 2)], ["1.weight", "2.weight"], 3),
    ],
    ids=["experts", "one", "a small one beside"],
)
def test_the_include_that_a_line_names_prunes_all_that_it_names(layers, include, pruned):
    model = nn.Sequential(nn.Linear(8, 8), *layers)
    optimizer = optim.SGD(model.parameters(), 0.1)
    assert str(DSD(model, optimizer, **SETTINGS)).endswith(f", which include={include} would prune")
    line = str(DSD(model, optimizer, **SETTINGS, include=include))
    assert line.endswith(f" weights in {pruned} tensors are free")


def test_of_many_that_are_left_dense_one_stands_for_all():
    model = nn.ModuleDict({**{name: nn.Embedding(9, 4) for name in "abcdef"}, "out": nn.Linear(4, 4)})
    line = str(DSD(model, optim.SGD(model.parameters(), 0.1), **SETTINGS))
    assert line.endswith(" and 1 more, of which include=['a.weight'], for instance, would prune some")


def test_the_rate_of_the_next_step():
    model = nn.Linear(10, 2)
    groups = [{"params": [model.weight], "lr": 1.0}, {"params": [model.bias], "lr": 2.0}]
    optimizer = optim.SGD(groups)
    dsd = DSD(model, optimizer, **SETTINGS)
    seen = []
    optimizer.register_step_post_hook(lambda *_: seen.append(dsd.rates))  # which runs before DSD's own
    for epoch in dsd.epochs():
        assert dsd.rate == dsd.rates[0]
        seen.append(dsd.rates)
        train_step(model, optimizer, epoch)
    assert seen == [pytest.approx(rates) for rates in [[1.0, 2.0]] * 4 + [[0.1, 0.2]] * 2]


@pytest.mark.parametrize("unit", ["epochs", "steps"])
def test_the_end_of_a_phase_comes_before_anything_changes(unit):
    ended = []

    def on_phase_end(dsd):
        ended.append((dsd.phase.kind, zeros(dsd.model), len(dsd.masks), bool(dsd.optimizer.state)))

    model, optimizer, dsd = linear(**{unit: (1, 2, 1)}, on_phase_end=on_phase_end)
    for number in dsd.epochs() if unit == "epochs" else range(4):
        train_step(model, optimizer, number)
    assert ended == [("dense", 0, 0, True), ("sparse", 10, 1, True), ("redense", 0, 0, True)]


@pytest.mark.parametrize("unit", ["epochs", "steps"])
def test_a_state_taken_at_the_end_of_a_phase_goes_on_with_the_next_one(unit):
    """Saved where the guide says that the dense model may be saved."""
    options = {unit: (2, 2, 2)}
    whole, optimizer, dsd = linear(**options)
    for number in dsd.epochs() if unit == "epochs" else range(6):
        train_step(whole, optimizer, number)

    states, told = [], []
    model, optimizer, dsd = linear(**options, on_phase_end=lambda dsd: states.append(state_of(model, optimizer, dsd)))
    for number in dsd.epochs() if unit == "epochs" else range(2):
        train_step(model, optimizer, number)
        if number == 2:
            break
    again, optimizer_again, resumed = linear(seed=1, **options, on_phase_end=lambda dsd: told.append(dsd.phase.kind))
    resumed.load_state_dict(states[0]["dsd"])
    again.load_state_dict(states[0]["model"])
    optimizer_again.load_state_dict(states[0]["optimizer"])
    for number in resumed.epochs() if unit == "epochs" else resumed.steps():
        train_step(again, optimizer_again, number)
    assert torch.equal(whole.weight, again.weight)
    assert told == ["sparse", "redense"], "the end of the dense phase was told already"


def test_a_layer_frozen_on_the_way_stays_in_the_state():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 4), nn.Linear(4, 2))
    optimizer = optim.SGD(model.parameters(), 0.1)
    dsd = DSD(model, optimizer, **SETTINGS)
    for epoch in dsd.epochs():
        train_step(model, optimizer, epoch)
        if epoch == 1:
            model[0].requires_grad_(False)
            break
    state = state_of(model, optimizer, dsd)
    assert set(state["dsd"]["masks"]) == {"0.weight", "1.weight"}
    dsd.remove()
    again = DSD(model, optim.SGD(model.parameters(), 0.1), **SETTINGS)
    again.load_state_dict(state["dsd"])
    assert set(again.masks) == {"0.weight", "1.weight"}


def test_a_script_that_thaws_a_layer_goes_on_as_it_was():
    """Resumed, it thaws the layer before it loads, as the optimizer's state needs its group."""

    def trained(stop=None, state=None):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(10, 4).requires_grad_(False), nn.Linear(4, 2))
        optimizer = optim.Adam(model[1].parameters(), 0.01)

        def thaw():
            model[0].requires_grad_(True)
            optimizer.add_param_group({"params": list(model[0].parameters())})

        if state is not None and state["epoch"] >= 1:
            thaw()
        dsd = DSD(model, optimizer, sparsity=0.5, epochs=(2, 2, 2))
        if state is not None:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            dsd.load_state_dict(state["dsd"])
        for epoch in dsd.epochs():
            if epoch == 1:
                thaw()
            train_step(model, optimizer, epoch)
            assert int((model[0].weight == 0).sum()) == 20 or epoch not in (2, 3)
            if epoch == stop:
                return {**state_of(model, optimizer, dsd), "epoch": epoch}
        return model.state_dict()

    whole = trained()
    for stop in range(5):
        torch.testing.assert_close(trained(state=trained(stop)), whole, rtol=0, atol=0)


def test_a_layer_frozen_while_it_is_pruned_gradually_keeps_its_mask():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 4), nn.Linear(4, 2))
    optimizer = optim.SGD(model.parameters(), 0.1)
    dsd = DSD(model, optimizer, sparsity=0.5, epochs=(1, 4, 1), schedule=schedules.Cubic(every=1, share=0.9))
    kept = None
    for epoch in dsd.epochs():
        train_step(model, optimizer, epoch)
        if epoch == 2:
            model[0].requires_grad_(False)
            kept = dsd.masks["0.weight"].clone()
        if epoch == 3:
            assert torch.equal(dsd.masks["0.weight"], kept)
            assert set(dsd.masks) == {"0.weight", "1.weight"}


def test_a_loop_over_steps_that_breaks_off_at_the_end_of_a_phase_goes_on_after_it():
    failures, told = iter([True]), []

    def save(dsd):
        told.append(dsd.phase.kind)
        if next(failures, False):
            raise OSError("disk full")

    model, optimizer, dsd = linear(steps=(2, 3, 2), on_phase_end=save)
    made = []
    for _ in range(2):
        try:
            for number in dsd.steps():
                made.append((number, dsd.phase.kind))
                train_step(model, optimizer, number)
        except OSError:
            continue
    assert [kind for _, kind in made] == ["dense"] * 2 + ["sparse"] * 3 + ["redense"] * 2
    assert [number for number, _ in made] == list(range(7))
    assert told == ["dense", "dense", "sparse", "redense"]


def test_frozen_weights_that_are_included_stay_zero_without_an_optimizer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 4).requires_grad_(False), nn.Linear(4, 2))
    optimizer = optim.SGD(model[1].parameters(), 0.1)
    dsd = DSD(model, optimizer, **SETTINGS, include=["0.weight"])
    for epoch in dsd.epochs():
        train_step(model, optimizer, epoch)
        assert int((model[0].weight == 0).sum()) == (0 if epoch == 0 else 20)


def deep():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 2))


def averaged(model):
    return torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))


@pytest.mark.parametrize("wrap", [lambda model: model, nn.DataParallel])
def test_masks_are_applied_to_averages_and_copies(wrap):
    """An average holds what was not zero before; in phases without masks it is left alone."""
    model = deep()
    optimizer = optim.SGD(model.parameters(), 0.1)
    average, copied = averaged(wrap(model)), copy.deepcopy(model)
    dsd = DSD(wrap(model), optimizer, sparsity=0.5, epochs=(1, 2, 1))
    for _ in dsd.epochs():
        for number in range(3):
            train_step(model, optimizer, number)
            average.update_parameters(wrap(model))
        untouched = copy.deepcopy(average.state_dict())
        assert all(bool(average.state_dict()[name].all()) for name in untouched if "weight" in name)
        for other in (average, copied):
            dsd.apply_masks(other)
        if dsd.masks:
            for other in (average, copied):
                parameters = named(other)
                assert all(torch.equal(parameters[name] == 0, ~mask) for name, mask in dsd.masks.items())
            average.load_state_dict(untouched)
        else:
            assert all(torch.equal(tensor, average.state_dict()[name]) for name, tensor in untouched.items())


def test_the_masks_of_a_list_that_ends_sparse_apply_to_copies_until_they_are_removed():
    model = deep()
    dsd = DSD(model, optim.SGD(model.parameters(), 0.1), phases=prune(0.5, 6))
    for _ in dsd.epochs():
        train_step(model, dsd.optimizer, 0)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.add_(1.0)
    dsd.apply_masks(copied)
    assert fraction_of_zeros([named(copied)[name] for name in dsd.masks]) == 0.5
    dsd.remove()
    assert dsd.masks == {}


def test_masks_do_not_outlast_a_loop_that_was_ended_in_the_middle_or_ends_dense():
    for in_the_middle in (True, False):
        model = deep()
        dsd = DSD(model, optim.SGD(model.parameters(), 0.1), sparsity=0.5, epochs=(0, 2, 1))
        for _ in dsd.epochs():
            train_step(model, dsd.optimizer, 0)
            if in_the_middle:
                dsd.remove()
        assert dsd.finished
        assert dsd.masks == {}


def test_masks_of_another_model_are_refused():
    model = deep()
    dsd = DSD(model, optim.SGD(model.parameters(), 0.1), sparsity=0.5, epochs=(0, 1, 1))
    dsd.start()
    other = nn.Sequential(nn.Linear(3, 3))
    before = other[0].weight.detach().clone()
    with pytest.raises(ModelError, match="mask '.*'"):
        dsd.apply_masks(other)
    assert torch.equal(before, other[0].weight)


def test_the_line_counts_what_is_frozen_and_thawed_on_the_way():
    model = nn.Sequential(nn.Linear(10, 16), nn.Linear(16, 3))
    model[0].requires_grad_(False)
    optimizer = optim.Adam(model.parameters())
    dsd = DSD(model, optimizer, sparsity=0.5, epochs=(2, 3, 1))
    said = [str(dsd)]
    for epoch in dsd.epochs():
        if epoch in (1, 3, 4):
            model.requires_grad_(epoch == 1)  # the first layer comes, then both go, and nothing else happens to masks
            model[1].bias.requires_grad_(True)
        train_step(model, optimizer, epoch)
        said.append(str(dsd))
    assert [line.partition("rate 0.001: ")[2].partition(" of the p")[0] for line in said[:5]] == [
        "48 weights in 1 tensor are free; left dense: 0.weight (70%",
        "48 weights in 1 tensor are free; left dense: 0.weight (70%",
        "208 weights in 2 tensors are free",
        "104 of 208 weights in 2 tensors are held at zero",
        "104 of 208 weights in 2 tensors are held at zero",
    ]
    assert "0 weights in 0 tensors are free; left dense: 0.weight" in said[6]
