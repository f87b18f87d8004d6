"""ONNX of anybody's model."""

import sys

import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import redense
from redense.commands.main import main
from redense.models.registry import build

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's own


def test_the_published_network_and_the_models_mode(tmp_path):
    model = build("fmnist-cnn", (1, 28, 28), 10)
    model.relu_2.eval()  # a frozen layer stays frozen
    assert redense.export_onnx(model, torch.zeros(2, 1, 28, 28), tmp_path / "model.onnx") < 1e-5
    assert model.training
    assert [name for name, layer in model.named_children() if not layer.training] == ["relu_2"]


class Tokens(nn.Module):
    """Takes keywords of two types, and returns a mapping of two tensors."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 4), nn.Linear(4, 3)

    def forward(self, tokens, weights=None):
        hidden = self.embedding(tokens) * weights[..., None]
        return {"logits": self.head(hidden.mean(1)), "hidden": hidden}


class Pair(nn.Module):
    def forward(self, x, y):
        return torch.cat([x, y], 1)


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (Tokens(), {"tokens": torch.tensor([[1, 6, 2]]), "weights": torch.ones(1, 3)}),
        (Pair(), (torch.zeros(2, 3), torch.ones(2, 1))),
        (nn.DataParallel(nn.Linear(3, 2)), torch.zeros(1, 3)),
        (torch.compile(nn.Linear(3, 2)), torch.zeros(1, 3)),
    ],
    ids=["keywords", "two inputs", "wrapped", "compiled"],
)
def test_any_number_of_examples_gives_pytorchs_outputs(model, example, tmp_path):
    path = tmp_path / "model.onnx"
    redense.export_onnx(model, example, path)
    session = onnxruntime.InferenceSession(str(path))
    five = [value[:1].repeat(5, *[1] * (value.dim() - 1)) for value in _values(example)]
    names = list(example) if isinstance(example, dict) else None
    expected = model(**dict(zip(names, five, strict=True))) if names else model(*five)
    found = session.run(
        None, {place.name: value.numpy() for place, value in zip(session.get_inputs(), five, strict=True)}
    )
    outputs = list(expected.values()) if isinstance(expected, dict) else [expected]
    for one, other in zip(found, outputs, strict=True):
        torch.testing.assert_close(torch.from_numpy(one), other.detach())
    single = ["input"] if len(five) == 1 else ["input_0", "input_1"]
    assert [place.name for place in session.get_inputs()] == (names or single)


def _values(example):
    if isinstance(example, dict):
        return list(example.values())
    return list(example) if isinstance(example, tuple) else [example]


class Fickle(nn.Module):
    """Gives something else at every call."""

    def forward(self, x):
        return x + torch.rand_like(x)


class Branching(nn.Module):
    """Asks for values, which no exported program can."""

    def forward(self, x):
        return x if float(x.sum()) > 0 else -x


class Counted(nn.Module):
    """Gives a number beside its tensors."""

    def forward(self, x):
        return {"one": x, "other": x * 2, "n": x.shape[0]}


class Constant(nn.Module):
    """Makes the number of examples that it is traced with a constant."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 3))

    def forward(self, x):
        return torch.cat([self.token.expand(len(x), -1), x], 1)


@pytest.mark.parametrize(
    ("model", "example", "message"),
    [
        (Constant(), torch.zeros(2, 3), r"Constant was exported, and ONNX Runtime fails on 6 examples.*write x.shape"),
        (Fickle(), torch.zeros(2, 3), "outputs differ from PyTorch's by"),
        (Branching(), torch.zeros(2, 3), "Branching cannot be exported: "),
        (nn.Linear(2, 2), [[1.0, 2.0]], "example: got \\[1.0, 2.0\\]; expected tensors"),
        (nn.Linear(2, 2), (), "example: got nothing; expected tensors"),
        (Pair(), (torch.zeros(2, 3), torch.ones(3, 1)), "example: got batches of 2, 3; expected one number"),
        ("net", torch.zeros(2, 3), "model: got 'net'; expected a torch.nn.Module"),
        (
            nn.Linear(3, 2, dtype=torch.bfloat16),
            torch.zeros(2, 3, dtype=torch.bfloat16),
            "got inputs of torch.bfloat16",
        ),
        (Counted(), torch.zeros(2, 3), "the file has 3 outputs, and Counted gives 2 tensors; not written"),
    ],
)
def test_what_does_not_fit_is_not_written(model, example, message, tmp_path):
    with pytest.raises(redense.RedenseError, match=message):
        redense.export_onnx(model, example, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_without_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(redense.ModelError, match=r"onnxruntime is not installed; pip install 'redense\[onnx\]'"):
        redense.export_onnx(nn.Linear(2, 2), torch.zeros(2, 2), tmp_path / "model.onnx")


def test_the_command_writes_a_model_of_ones_own(tmp_path, capsys):
    weights, out = tmp_path / "mine.safetensors", tmp_path / "mine.onnx"
    model = build("mlp", (6,), 3)
    save_file(model.state_dict(), weights)
    words = ["export", "--model", "mlp", "--weights", str(weights), "--input", "6", "--classes", "3"]
    main(words)
    assert f"Written: {out}, {out.stat().st_size:,} bytes" in capsys.readouterr().out
    x = torch.randn(5, 6)
    (logits,) = onnxruntime.InferenceSession(str(out)).run(None, {"input": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), model.eval()(x).detach())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "export: got neither; expected a run's folder, or --model with --weights and --input"),
        (["--model", "mlp", "--input", "6"], "export: --model also needs --weights"),
        (["--model", "mlp", "--weights", "w", "--input", "6", "--format", "bitmask"], "is written as onnx alone"),
        (["--model", "mlp", "--weights", "w", "--input", "6", "--seed", "1"], "seed: "),
        (["run", "--weights", "w"], "weights: a run has its own"),
        (["--model", "mlp", "--weights", "w", "--input", "0"], "input: got 0; expected"),
    ],
)
def test_what_the_command_cannot_do(words, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["export", *words])
    assert message in capsys.readouterr().err
