import json

import factories
import numpy as np
import pytest
import torch
from auditing.models import leaky
from PIL import Image
from safetensors.torch import load_file, save_file

import redense
from redense.commands.main import main


def network():
    torch.manual_seed(0)
    return torch.nn.Linear(6, 3)


def with_shape(input_shape, num_classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(input_shape)), num_classes))


@pytest.fixture
def saved(tmp_path):
    """A saved model, members that it has learnt by heart, and non-members."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(400, 6)).astype(np.float32), generator.integers(0, 3, 400)
    np.savez(tmp_path / "members.npz", x=x[:200], y=y[:200])
    np.savez(tmp_path / "nonmembers.npz", x=x[200:], y=y[200:])
    save_file(network().state_dict(), tmp_path / "weights.safetensors")
    return tmp_path


def files(saved, **changes):
    flags = {
        "model": "commands.test_audit:network",
        "weights": saved / "weights.safetensors",
        "members": saved / "members.npz",
        "nonmembers": saved / "nonmembers.npz",
        **changes,
    }
    return ["audit", *(part for name, value in flags.items() for part in (f"--{name}", str(value)))]


def exit_code(arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code


def signals(path, shift=0.0, **more):
    generator = np.random.default_rng(1)
    members = np.arange(600) < 300
    np.savez(path, members=members, phi=generator.normal(size=600) + shift * members, **more)
    return path


def test_a_saved_model_is_audited_and_written(saved, capsys):
    main([*files(saved), "--out", str(saved / "out")])
    printed = capsys.readouterr().out
    assert "No leak that this audit can show" in printed
    assert "modified entropy, per class" in printed
    assert {path.name for path in (saved / "out").iterdir()} == {"audit.json", "audit.csv", "audit.png", "audit.html"}
    assert json.loads((saved / "out" / "audit.json").read_text())["members"] == 200
    page = (saved / "out" / "audit.html").read_text()
    for name in ("commands.test_audit:network", "weights.safetensors", "members.npz", "nonmembers.npz"):
        assert name in page


def test_factories_may_take_the_shape(saved, capsys):
    torch.manual_seed(0)
    save_file(with_shape((6,), 3).state_dict(), saved / "weights.safetensors")
    main(files(saved, model="commands.test_audit:with_shape"))
    assert "200 members, 200 non-members" in capsys.readouterr().out


@pytest.mark.parametrize("factory", ["small", "without_arguments", "with_classes_alone", "with_anything"])
def test_factories_are_called_alike_by_run_and_audit(saved, factory, capsys, monkeypatch):
    monkeypatch.setattr(factories, "given", lambda: factories.arrays()[0], raising=False)
    run = ["run", "--data", "factories:data", "--model", f"factories:{factory}", "--epochs", "1", "1", "1"]
    main([*run, "--sparsities", "0.5", "--workers", "0", "--out", str(saved / "run")])
    main(["export", str(saved / "run"), "--phase", "dense", "--out", str(saved / "dense.safetensors")])
    model = {"model": f"factories:{factory}", "weights": saved / "dense.safetensors"}
    main(files(saved, **model, members="factories:given"))
    assert "96 members, 200 non-members" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--data", "factories:data", "--out", "run"],
        ["audit", "--weights", "w", "--members", "factories:given", "--nonmembers", "factories:given"],
    ],
)
@pytest.mark.parametrize("model", ["builtins:dict", "factories:no_module"])
def test_what_is_no_model_is_the_same_line_for_run_and_audit(arguments, model, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(factories, "given", lambda: factories.arrays()[0], raising=False)
    assert exit_code([*arguments, "--model", model]) == 2
    error = capsys.readouterr().err
    assert f"model {model}: the factory returned" in error
    assert "expected a torch.nn.Module" in error
    assert error.count("\n") == 1


def test_members_and_nonmembers_are_the_parts_of_one_folder_or_file(tmp_path, capsys):
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (60, 8, 9, 3), dtype=np.uint8)
    y = np.concatenate([np.sort(np.arange(40) % 3), np.sort(np.arange(20) % 3)])  # folders come class by class
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        folder = tmp_path / "images" / ("train" if number < 40 else "test") / "abc"[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:02}.png")
    np.savez(tmp_path / "keras.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    save_file(with_shape((3, 8, 9), 3).state_dict(), tmp_path / "weights.safetensors")
    found = []
    for source in ("images", "keras.npz"):
        sides = {"members": tmp_path / source, "nonmembers": tmp_path / source}
        main([*files(tmp_path, model="commands.test_audit:with_shape", **sides), "--out", str(tmp_path / "out")])
        found.append((tmp_path / "out" / "audit.csv").read_text())
        assert "40 members, 20 non-members" in capsys.readouterr().out
    assert found[0] == found[1]


def stream():
    """Examples that can be read once, and those that are none."""
    (x, y), _ = factories.arrays()
    return zip(torch.from_numpy(x), y.tolist(), strict=True)


def lists():
    (x, y), _ = factories.arrays()
    return x.tolist(), y.tolist()


@pytest.mark.parametrize("members", ["commands.test_audit:stream", "commands.test_audit:lists", "factories:data"])
def test_whatever_a_function_returns_gives_the_same_audit(members, tmp_path, capsys):
    save_file(network().state_dict(), tmp_path / "weights.safetensors")
    x, y = factories.arrays()[1]
    np.savez(tmp_path / "out.npz", x=x, y=y)
    nonmembers = "factories:data" if members == "factories:data" else tmp_path / "out.npz"
    main([*files(tmp_path, members=members, nonmembers=nonmembers), "--out", str(tmp_path / "out")])
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    expected = redense.audit(network(), members=factories.arrays()[0], nonmembers=(x, y))
    assert found == json.loads(expected.to_json())


def test_named_data_are_members_and_nonmembers(tmp_path, capsys):
    save_file(with_shape((1, 28, 28), 10).state_dict(), tmp_path / "weights.safetensors")
    sides = {"members": "digits", "nonmembers": "digits"}
    main(files(tmp_path, model="commands.test_audit:with_shape", **sides))
    assert "1,000 members, 797 non-members" in capsys.readouterr().out


def convolution(input_shape, num_classes):
    channels, height, width = input_shape
    return torch.nn.Sequential(
        torch.nn.Conv2d(channels, 2, 3),
        torch.nn.Flatten(),
        torch.nn.Linear(2 * (height - 2) * (width - 2), num_classes),
    )


def for_one_channel(num_classes):
    return convolution((1, 8, 9), num_classes)


@pytest.mark.parametrize(("factory", "channels"), [(convolution, 3), (for_one_channel, 1)])
def test_a_folder_of_grey_images_is_the_same_for_run_and_audit(factory, channels, tmp_path, capsys):
    generator = np.random.default_rng(0)
    for number in range(90):
        folder = tmp_path / "grey" / ("train" if number < 60 else "test") / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (8, 9), dtype=np.uint8)).save(folder / f"{number:02}.png")
    model = f"commands.test_audit:{factory.__name__}"
    run = ["run", "--data", str(tmp_path / "grey"), "--model", model, "--epochs", "1", "1", "1", "--sparsities", "0.5"]
    main([*run, "--workers", "0", "--out", str(tmp_path / "run")])
    main(["export", str(tmp_path / "run"), "--phase", "dense", "--out", str(tmp_path / "weights.safetensors")])
    assert load_file(tmp_path / "weights.safetensors")["0.weight"].shape[1] == channels
    sides = {"members": tmp_path / "grey", "nonmembers": tmp_path / "grey"}
    main([*files(tmp_path, model=model, **sides), "--out", str(tmp_path / "audit")])
    main(["audit", str(tmp_path / "run"), "--model", model, "--attacks", "threshold"])
    of_run = json.loads((tmp_path / "run" / "audit.json").read_text())
    alone = json.loads((tmp_path / "audit" / "audit.json").read_text())
    found = {one["attack"]: one["auc"] for one in alone["attacks"] if one["attack"] != "label-only"}
    (dense,) = (row for row in of_run["rows"] if row["phase"] == "dense")
    assert {one["attack"]: one["auc"] for one in dense["result"]["attacks"]} == found


def test_folders_of_other_classes_are_one_line(tmp_path, capsys):
    for side, classes in (("in", "ab"), ("out", "ac")):
        for name in classes:
            (tmp_path / side / name).mkdir(parents=True)
            Image.new("RGB", (4, 4)).save(tmp_path / side / name / "0.png")
    assert exit_code(files(tmp_path, members=tmp_path / "in", nonmembers=tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert "members has the classes ['a', 'b'], nonmembers ['a', 'c']; expected the same" in error
    assert error.count("\n") == 1


def test_reference_models_come_from_files(saved, capsys):
    included = np.random.default_rng(0).random((1, 400)) < 0.5
    np.savez(saved / "included.npz", included=np.concatenate([included, ~included]))
    for name in ("a", "b"):
        save_file(network().state_dict(), saved / f"{name}.safetensors")
    references = ["--references", str(saved / "a.safetensors"), str(saved / "b.safetensors")]
    main([*files(saved, included=saved / "included.npz"), *references, "--attacks", "lira", "rmia"])
    printed = capsys.readouterr().out
    assert "2 reference models" in printed
    assert "LiRA online" in printed


def test_signals_need_no_model(tmp_path, capsys):
    main(["audit", "--signals", str(signals(tmp_path / "signals.npz", shift=2.0))])
    assert "gives away who was in its training data" in capsys.readouterr().out


def test_logits_with_reference_models_in_one_file(tmp_path, capsys):
    model, (x, y), (x_out, y_out) = leaky()
    logits = model(torch.from_numpy(np.concatenate([x, x_out]))).numpy()
    labels = np.concatenate([y, y_out])
    first = np.random.default_rng(0).random((2, 240)) < 0.5
    np.savez(
        tmp_path / "signals.npz",
        members=np.arange(240) < 120,
        logits=logits,
        labels=labels,
        reference_logits=np.stack([logits + 0.1 * seed for seed in range(4)]),
        included=np.concatenate([first, ~first]),
    )
    main(["audit", "--signals", str(tmp_path / "signals.npz")])
    printed = capsys.readouterr().out
    assert "4 reference models" in printed
    assert "shadow classifier" in printed


def test_too_few_examples_never_pass_a_limit(tmp_path, capsys):
    members = np.arange(80) < 40
    np.savez(tmp_path / "few.npz", members=members, phi=9.0 * members + np.arange(80) % 7)
    assert exit_code(["audit", "--signals", str(tmp_path / "few.npz"), "--fail-above", "0.6"]) == 2
    error = capsys.readouterr().err
    assert "--fail-above 0.6: No verdict: 40 members and 40 non-members are too few" in error
    assert error.count("\n") == 1


def test_coins_prove_an_epsilon_and_names_are_the_users_own(tmp_path, capsys):
    generator = np.random.default_rng(0)
    members = generator.random(600) < 0.5
    first = generator.random((4, 600)) < 0.5
    included = np.concatenate([first, ~first])
    np.savez(
        tmp_path / "signals.npz",
        members=members,
        phi=generator.normal(size=600) + 4 * members,
        reference_phi=generator.normal(size=(8, 600)) + 4 * included,
        included=included,
        names=[f"person-{number}" for number in range(600)],
    )
    arguments = ["audit", "--signals", str(tmp_path / "signals.npz"), "--out", str(tmp_path)]
    found = []
    for flags in ([], ["--randomized"]):
        main([*arguments, *flags])
        result = json.loads((tmp_path / "audit.json").read_text())
        found.append({attack["attack"]: attack["epsilon"] for attack in result["attacks"]})
        assert result["exposed"][0]["name"] == f"person-{result['exposed'][0]['example']}"
        assert result["exposed"][0]["name"] in capsys.readouterr().out
    assert not any(found[0].values())
    assert found[1].pop("LiRA online") > 1
    assert not any(found[1].values())


def test_a_runs_folder_keeps_its_own_audit(tmp_path, capsys):
    for name in ("recipe.json", "audit.json", "audit.html"):
        (tmp_path / name).write_text(name)
    path = str(signals(tmp_path / "signals.npz", shift=2.0))
    assert exit_code(["audit", "--signals", path, "--out", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert f"--out: got {tmp_path}, a run's folder" in said.err
    assert said.err.count("\n") == 1
    assert "gives away" not in said.out  # before the attacks take their time
    assert {path.name: path.read_text() for path in tmp_path.glob("[ar]*")} == {
        name: name for name in ("recipe.json", "audit.json", "audit.html")
    }


@pytest.mark.parametrize(("limit", "code"), [("0.6", 1), ("0.95", None)])
def test_a_leak_above_the_limit_exits_with_one(tmp_path, capsys, limit, code):
    arguments = ["audit", "--signals", str(signals(tmp_path / "signals.npz", shift=2.0)), "--fail-above", limit]
    if code is None:
        main(arguments)
        return
    assert exit_code(arguments) == code
    assert "more than --fail-above 0.6" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "audit: got nothing; expected one of a run's folder"),
        (["--model", "mlp"], "--model also needs --weights, --members, --nonmembers"),
        (["--signals", "none.npz"], "none.npz: cannot be read as NPZ"),
        (["nowhere"], "expected a run's folder"),
        (["nowhere", "--delta", "0.1"], "delta: a run's audit has its own; leave it out"),
        (["nowhere", "--out", "elsewhere"], "out: the audit of a run is written into the run; leave it out"),
        (["nowhere", "--randomized"], "randomized: a run's audit has its own; leave it out"),
        (["nowhere", "--signals", "x.npz"], "got run and signals; expected one of"),
        (["--signals", "x.npz", "--attacks", "lyra"], "did you mean 'lira'"),
        (["--signals", "x.npz", "--delta", "2"], "delta: got 2"),
        (["--signals", "x.npz", "--fail-above", "55"], "fail_above: got 55"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert exit_code(["audit", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"phi": np.zeros(4)}, "expected members, too"),
        ({"members": np.arange(4) < 2}, "expected one of logits, phi, loss"),
        ({"members": np.arange(4) < 2, "logits": np.zeros((4, 2))}, "holds logits but no labels"),
        ({"members": np.arange(4) < 2, "logits": np.zeros((4, 2)), "labels": np.full(4, 2)}, "do not fit"),
        ({"members": np.arange(4) < 2, "phi": np.zeros(4), "labels": np.zeros(3, int)}, "expected 4 integers"),
        ({"members": np.arange(4) < 2, "loss": np.array([0.1, -1, 0, 2])}, "1 losses are below 0"),
        ({"members": np.arange(4) < 2, "phi": np.array([0.1, np.nan, 0, 2])}, "NaN or infinite for 1 of 4"),
        ({"members": np.arange(4) < 2, "phi": np.zeros(4), "reference_phi": np.zeros((2, 4))}, "no included"),
        ({"members": np.arange(4) < 2, "phi": np.float64(1)}, "phi is a single value"),
        ({"members": np.arange(4) < 2, "phi": np.zeros(4), "names": ["a"] * 3}, "names: got 3; expected 4"),
        (
            {"members": np.zeros(0, bool), "logits": np.zeros((0, 2)), "labels": np.zeros(0, int)},
            "logits is an array of float64 (0, 2); expected numbers, of one example at least",
        ),
        ({"members": np.arange(2) < 1, "loss": ["a", "b"]}, "loss is an array of <U1 (2,); expected numbers"),
        ({"members": np.arange(2) < 1, "loss": np.zeros(2, "M8[s]")}, "loss is an array of datetime64[s] (2,)"),
        (
            {
                "members": np.arange(4) < 2,
                "phi": np.zeros(4),
                "reference_phi": np.zeros((2, 3)),
                "included": np.zeros((2, 4), bool),
            },
            "reference_phi is (2, 3), phi (4,); expected [models, 4]",
        ),
    ],
)
def test_unusable_signals_are_one_line(arrays, message, capsys, tmp_path):
    np.savez(tmp_path / "signals.npz", **arrays)
    assert exit_code(["audit", "--signals", str(tmp_path / "signals.npz")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "missing.safetensors"}, "No such file or directory"),
        ({"weights": "members.npz"}, "cannot be read as safetensors"),
        ({"weights": "members.npz"}, "expected a state_dict in safetensors, for nothing is unpickled; a PyTorch file"),
        ({"members": "weights.safetensors"}, "cannot be read as NPZ"),
        ({"nonmembers": "members.npz"}, "200 inputs are among the members and among the non-members"),
        ({"model": "mlp"}, "does not fit mlp"),
        ({"model": "factories:no_module"}, "the factory returned str"),
        ({"model": "commands.test_audit:nothing"}, "has no function 'nothing'"),
        ({"classes": 2}, "has the label 2"),
    ],
)
def test_unusable_files_are_one_line(saved, changes, message, capsys):
    if "classes" in changes:
        save_file(with_shape((6,), 2).state_dict(), saved / "weights.safetensors")
        changes = {**changes, "model": "commands.test_audit:with_shape"}
    else:
        named = ("weights", "members", "nonmembers")
        changes = {name: saved / value if name in named else value for name, value in changes.items()}
    assert exit_code(files(saved, **changes)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_run_that_was_not_audited_can_be(tmp_path, capsys, monkeypatch):
    run = ["run", "--data", "factories:data", "--model", "factories:small", "--epochs", "1", "1", "1"]
    main([*run, "--sparsities", "0.5", "--workers", "0", "--out", str(tmp_path / "run")])
    capsys.readouterr()
    main(["audit", str(tmp_path / "run"), "--trust"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "Audit, protocol all" in printed
    assert "modified entropy, per class" in printed
    assert "0 reference models" in printed
    assert (tmp_path / "run" / "audit.json").exists()
