"""Bits come from where they were made: phases of different arithmetic are named, and joined only where asked for."""

import dataclasses
import json
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
import torch
from folders import checkpoints
from rich.console import Console

from redense.errors import FolderError
from redense.experiment.determinism import SETTINGS, fixed_arithmetic, kernels, settle
from redense.experiment.dry_run import dry_run
from redense.experiment.mixed import differences
from redense.experiment.resources import Resources
from redense.experiment.results import Results
from redense.experiment.run import run
from redense.experiment.whole_folders import UNCHECKED


def more(recipe):
    return dataclasses.replace(recipe, sparsities=(0.3, 0.5, 0.9))


def printed(recipe, folder, **resources):
    text = StringIO()
    run(recipe, folder, console=Console(file=text, width=300), workers=0, **resources)
    return text.getvalue()


def recorded(folder):
    return [json.loads(path.read_text()) for path in (folder / "checkpoints").glob(f"*/{UNCHECKED}")]


def test_every_checkpoint_says_what_chose_its_kernels(undisturbed):
    here = kernels("cpu")
    assert {*SETTINGS, "torch", "cpu", "cpu_capability"} < set(here)
    assert here["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert all(here.items() <= each.items() for each in recorded(undisturbed))


def made_elsewhere(folder, *names):
    """Let the folder's checkpoints say that something else chose their kernels."""
    for path in (folder / "checkpoints").glob(f"*/{UNCHECKED}"):
        path.write_text(json.dumps(json.loads(path.read_text()) | dict.fromkeys(names, "another")))


OF_KERNELS = ("torch", "cpu", "cpu_capability", *SETTINGS)


def test_other_arithmetic_is_refused_whatever_it_is_that_differs(recipe, undisturbed, tmp_path):
    folder, kept = shutil.copytree(undisturbed, tmp_path / "run"), {}
    for path in (folder / "checkpoints").glob(f"*/{UNCHECKED}"):
        kept[path] = path.read_text()
    before = checkpoints(folder)
    for name in OF_KERNELS:
        made_elsewhere(folder, name)
        with pytest.raises(FolderError, match=rf"{name}: another \(5\), .*--mixed") as refused:
            run(more(recipe), folder, workers=0)
        assert str(refused.value).count(": another (5)") == 1
        for path, text in kept.items():
            path.write_text(text)
    assert checkpoints(folder) == before


def test_other_arithmetic_goes_on_where_asked_for_and_is_named(recipe, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    made_elsewhere(folder, *OF_KERNELS)
    assert "Mixed" not in printed(recipe, folder)  # nothing is left to train
    for resources in ({"mixed": True}, {}):
        said = " ".join(printed(more(recipe), folder, **resources).split())
        assert "Mixed: " in said
        assert all(f"{name}: another (5)" in said.partition("Mixed: ")[2] for name in OF_KERNELS)
    for told in (str(Results.load(folder)), (folder / "report.html").read_text(encoding="utf-8")):
        assert "Mixed: " in " ".join(told.split())


def test_settings_are_shown_in_a_line_whatever_a_folder_has_recorded():
    (said,) = differences([{"cpu": "\x1b[31m" + "long " * 1000}, {"cpu": 3}])
    assert said.isprintable()
    assert len(said) < 120
    assert said.endswith("... (1), 3 (1)")


@pytest.mark.parametrize(("address", "kinds"), [(None, 1), ("auto", 2)])
def test_ray_is_no_exception(recipe, undisturbed, tmp_path, address, kinds):
    """A cluster of the run's own is this machine; of another's machines no more is known than what they recorded."""
    pytest.importorskip("ray")
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    places = sorted((folder / "checkpoints").glob(f"*/{UNCHECKED}"))
    for path in places[: len(places) if kinds == 1 else 2]:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"cpu": "another"}))
    with pytest.raises(FolderError, match=r"cpu: .*another \([25]\).*--mixed"):
        run(more(recipe), folder, engine="ray", ray_address=address)


def test_a_variable_that_chooses_kernels_is_noticed(recipe, undisturbed, tmp_path, monkeypatch):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    with pytest.raises(FolderError, match=r"MKL_CBWR: not set \(5\), here COMPATIBLE"):
        run(more(recipe), folder, workers=0)
    with pytest.raises(FolderError, match=r"MKL_CBWR: not set \(5\), here COMPATIBLE"):
        dry_run(more(recipe), folder, resources=Resources(workers=0), console=Console(quiet=True))


def test_a_phase_begun_elsewhere_is_noticed(recipe, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    first = next((folder / "checkpoints").iterdir())
    started = folder / "progress" / first.name / "000001"
    started.mkdir(parents=True)
    (started / UNCHECKED).write_text(json.dumps({"cpu": "another"}))
    shutil.rmtree(first)
    with pytest.raises(FolderError, match="another"):
        run(recipe, folder, workers=0)


def test_what_older_checkpoints_do_not_say_is_not_held_against_them(recipe, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    for path in (folder / "checkpoints").glob(f"*/{UNCHECKED}"):
        path.write_text(json.dumps({"torch": torch.__version__, "seconds": 1.0}))
    assert "Mixed" not in printed(more(recipe), folder)
    assert differences([{}, {"cpu": "A"}, {"torch": "1"}]) == []


def told(matmul):
    """Tell PyTorch other things than its defaults, by old names or by new ones."""
    torch.backends.mkldnn.enabled = False
    if matmul == "medium":
        torch.set_float32_matmul_precision("medium")
    else:
        torch.backends.mkldnn.matmul.fp32_precision = matmul


@pytest.mark.parametrize("matmul", ["medium", "bf16"])
def test_what_a_process_was_told_before_changes_no_bit(recipe, tmp_path, matmul):
    code = (
        "import sys, torch\nsys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\nimport redense\n"
        "from experiment.test_mixed import told\nfrom folders import checkpoints\n"
        "recipe = redense.Recipe(data='digits', model='mlp', sparsities=(0.5,), epochs=(1, 1, 1))\n"
        "def bits(name):\n    folder = Path(sys.argv[2]) / name\n    redense.run(recipe, folder, workers=0)\n"
        "    return checkpoints(folder)\n"
        "usual = bits('usual'); told(sys.argv[3])\n"
        "with torch.autocast('cpu', torch.bfloat16), torch.no_grad(): strange = bits('strange')\n"
        "assert strange == usual\n"
        "assert not torch.backends.mkldnn.enabled\n"
        "assert torch.backends.mkldnn.matmul.fp32_precision == 'bf16'\n"
    )
    tests = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code, tests, tmp_path, matmul], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_a_models_module_switches_changes_no_arithmetic():
    with fixed_arithmetic("cpu"):
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        torch.backends.mkldnn.enabled = False
        settle("cpu")
        assert (torch.backends.mkldnn.matmul.fp32_precision, torch.backends.mkldnn.enabled) == ("ieee", True)
