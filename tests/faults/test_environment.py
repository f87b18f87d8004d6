"""What the environment refuses ends in one line: locks, files, processes, characters, names, targets."""

import errno
import fcntl
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from folders import checkpoints
from processes import COMMAND, environment
from rich.console import Console
from safetensors.torch import save_file

from redense.auditing.result import AuditResult
from redense.auditing.saved import write_audit
from redense.commands.main import main
from redense.errors import FolderError, RecipeError, RedenseError, TrainingError
from redense.experiment.audit import audit_run
from redense.experiment.checkpoints import Store
from redense.experiment.dry_run import dry_run
from redense.experiment.engines import fork_server
from redense.experiment.engines.local import EXHAUSTED, LocalEngine, _cause_of_death
from redense.experiment.export import export
from redense.experiment.folder import FOLDERS, Trust, check_targets
from redense.experiment.prepare import prepare
from redense.experiment.run import run
from redense.experiment.trained import Progress
from redense.experiment.write_report import write_report
from redense.files.writing import TEMPORARY, write_whole
from redense.models.registry import build


@pytest.fixture(scope="module")
def audited_files(npz, tmp_path_factory):
    """The folder that an audit of signals wrote, and the commands that audit these and a model, but for --out."""
    place = tmp_path_factory.mktemp("audited_files")
    signals, weights = place / "signals.npz", place / "weights.safetensors"
    np.savez(signals, phi=np.linspace(-1, 2, 40), members=np.arange(40) % 2 > 0)
    save_file(build("mlp", (1, 4, 4), 4).state_dict(), weights)
    commands = {
        "signals": ["audit", "--signals", str(signals)],
        "model": [
            "audit",
            "--model",
            "mlp",
            "--weights",
            str(weights),
            "--members",
            str(npz),
            "--nonmembers",
            str(npz),
        ],
    }
    main([*commands["signals"], "--out", str(place / "audit")])
    return place / "audit", commands


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO])
def test_a_file_system_without_locks(recipe, undisturbed, tmp_path, monkeypatch, number):
    folder = shutil.copytree(undisturbed, tmp_path / "run")

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(FolderError, match="has no locks .*add --no-lock") as error:
        run(recipe, folder, workers=0)
    assert "\n" not in str(error.value)
    assert len(run(recipe, folder, workers=0, lock=False).rows) == 5


def test_the_flag_is_called_no_lock(npz, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "No locks available")))
    command = ["run", "--data", str(npz), "--model", "mlp", "--sparsities", "0.5", "--epochs", "1", "1", "1"]
    command += ["--workers", "0", "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as left:
        main(command)
    assert left.value.code == 2
    main([*command, "--no-lock"])


@pytest.mark.parametrize("number", EXHAUSTED)
@pytest.mark.parametrize("call", ["os.pipe", "subprocess.Popen"])
def test_too_many_files_or_processes(recipe, tmp_path, monkeypatch, call, number):
    prepared, out = prepare(recipe), tmp_path / "run"
    out.mkdir()
    open_before = set(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patched:
        patched.setattr(call, lambda *_, **__: (_ for _ in ()).throw(OSError(number, os.strerror(number))))
        with pytest.raises(TrainingError, match="worker process cannot be started .*fewer --workers"):
            list(LocalEngine(2).run(prepared.jobs, prepared.dataset, Store(out)))
    assert set(os.listdir("/proc/self/fd")) == open_before


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EACCES])
def test_a_sound_checkpoint_that_cannot_be_opened_now_is_not_set_aside(undisturbed, tmp_path, monkeypatch, number):
    store = Store(shutil.copytree(undisturbed, tmp_path / "run"))
    key = next((store.root / "checkpoints").iterdir()).name
    with monkeypatch.context() as patched:
        patched.setattr("redense.files.reading.os.open", lambda *_: (_ for _ in ()).throw(OSError(number, "no")))
        with pytest.raises(FolderError, match="cannot be read"):
            store.load(key)
    assert store.load(key) is not None
    assert not store.set_aside


def test_checkpoints_that_nobody_can_look_at_are_not_taken_for_absent(recipe, undisturbed, tmp_path, monkeypatch):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    before = (folder / "results.json").read_bytes()

    def refused(path, *, of=os.lstat):
        if "checkpoints" in Path(path).parts[:-1]:
            raise PermissionError(errno.EACCES, "Permission denied")
        return of(path)

    with monkeypatch.context() as patched:
        patched.setattr("redense.experiment.checkpoints.os.lstat", refused)
        for act in (lambda: run(recipe, folder, workers=0), lambda: export(folder, phase="dense", format="bitmask")):
            with pytest.raises(FolderError, match=r"checkpoints/\w+: cannot be looked for \(Permission denied\)"):
                act()
    assert (folder / "results.json").read_bytes() == before
    assert len(run(recipe, folder, workers=0).rows) == 5


def test_no_thread_for_the_server_is_a_limit_of_the_system(recipe, tmp_path, monkeypatch):
    code = (
        "import sys, threading; from redense.experiment.engines import fork_server\n"
        'def refuse(*_): raise RuntimeError("can\'t start new thread")\n'
        "threading.Thread.start = refuse; fork_server.main()"
    )
    ours, theirs = socket.socketpair()
    ended = subprocess.run(
        [sys.executable, "-c", code, str(theirs.fileno())], pass_fds=(theirs.fileno(),), capture_output=True
    )
    assert (ended.returncode, ended.stderr) == (fork_server.NO_THREAD, b"")
    ours.close()
    theirs.close()
    prepared, out = prepare(recipe), tmp_path / "run"
    out.mkdir()
    monkeypatch.setattr(fork_server.ForkServer, "exhausted", True)
    monkeypatch.setattr(fork_server.ForkServer, "_send", lambda self, request, descriptors: self.close())
    with pytest.raises(TrainingError, match="worker process cannot be started .*fewer --workers"):
        list(LocalEngine(1).run(prepared.jobs, prepared.dataset, Store(out)))
    fork_server.stop()


@pytest.mark.parametrize("number", range(1, 65))
def test_whatever_signal_ends_a_worker_it_is_said(number):
    named = {each.value: each.name for each in signal.Signals}  # real-time signals have no name
    assert named.get(number, f"signal {number}") in _cause_of_death(-number)


@pytest.mark.parametrize(
    "place",
    ["results.json", "results.csv", "plan.json", "table.png", "accuracy-leakage.png", "report.html", "recipe.json"],
)
def test_a_disk_that_is_full_at_any_write(recipe, undisturbed, tmp_path, monkeypatch, place):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    before = checkpoints(folder)

    def full(path, content, *_):
        if place in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr("redense.files.writing.write_synced", full)
    with pytest.raises(FolderError, match=r"cannot be written \(No space left on device\); free some space"):
        run(recipe, folder, workers=0)
    assert checkpoints(folder) == before


def test_a_terminal_of_ascii_alone(npz, tmp_path):
    command = [sys.executable, "-m", "redense", "run", "--data", str(npz), "--model", "mlp", "--sparsities", "0.5"]
    command += ["--epochs", "1", "1", "1", "--seeds", "0", "1", "--workers", "0", "--out", str(tmp_path / "run")]
    ascii_only = {**environment(), "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(command, env=ascii_only, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


LONG = "n" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--data", LONG],
        ["run", "--data", f"{LONG}.npz"],
        ["run", "--data", f"{LONG}/{LONG}"],
        ["run", "--model", LONG],
        ["run", "--model", f"{LONG}:{LONG}"],
        ["run", "--out", LONG],
        ["run", "--data-root", LONG, "--data", "mnist"],
        ["run", f"{LONG}.toml"],
        ["run", "--data", "nul\0.npz"],
        ["run", "--model", "builtins:dict"],
        ["run", "--model", "builtins:exit"],
        ["run", "--data", "builtins:dict"],
        ["run", "--data", "/"],
        ["audit", LONG],
        ["audit", "nul\0"],
        ["audit", "--signals", f"{LONG}.npz"],
        ["audit", "--model", "mlp", "--weights", LONG, "--members", LONG, "--nonmembers", LONG],
        ["export", LONG],
        ["report", LONG],
        ["report", "nul\0"],
        ["report", LONG, LONG, "--out", "both.html"],
        ["data", LONG],
    ],
    ids=lambda arguments: " ".join(arguments)[:30].replace("\0", "0"),
)
def test_names_that_are_none(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["nonsense://x", "s3://bucket/run", "nul\0://x"])
@pytest.mark.parametrize("dry", [True, False])
def test_a_storage_that_is_none_is_refused_before_anything_is_trained(url, dry, npz, tmp_path, capsys, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setitem(sys.modules, "s3fs", None)  # not installed
    command = ["run", "--data", str(npz), "--model", "mlp", "--engine", "ray", "--ray-storage", url]
    with pytest.raises(SystemExit) as left:
        main([*command, "--out", str(tmp_path / "run"), *(["--dry-run"] if dry else [])])
    said = capsys.readouterr().err
    assert (left.value.code, said.count("\n"), "ray_storage" in said) == (2, 1, True)
    assert not (tmp_path / "run").exists()


def test_a_storage_that_fails_is_one_line(undisturbed, tmp_path):
    pytest.importorskip("ray")
    from redense.experiment.engines.transfer import Storage

    (tmp_path / "file").write_text("no folder")
    store = Store(undisturbed)
    key = next((undisturbed / "checkpoints").iterdir()).name
    with pytest.raises(RecipeError, match="ray_storage: file:.* cannot be used") as refused:
        Storage(f"file://{tmp_path / 'file'}").push(store, key)
    assert "\n" not in str(refused.value)


TOML = {
    "an integer above 64 bits": f"batch_size = {2**64}",
    "a seed above 64 bits": f"seeds = [{2**70}]",
    "an integer of many digits": f"batch_size = {'9' * 10_000}",
    "seeds twice": "seeds = [1, 2, 1]",
    "a key twice": "seeds = [1]\nseeds = [1]",
    "nested": f"seeds = {'[' * 20_000}",
    "nested tables": f"{'a.' * 3_000}a = 1",
    "many rounds": "rounds = 10000000",
    "NaN": "lr = nan",
    "infinity": "lr = inf",
    "a date": "lr = 1979-05-27",
    "a table": "[lr]\na = 1",
}


@pytest.mark.parametrize("kind", TOML)
def test_odd_recipes(kind, tmp_path, capsys):
    (tmp_path / "odd.toml").write_text(TOML[kind])
    with pytest.raises(SystemExit) as left:
        main(["run", str(tmp_path / "odd.toml"), "--dry-run", "--out", str(tmp_path / "run")])
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def audited(folder):
    return audit_run(folder, (), data_root=None, device="cpu", console=Console(quiet=True), trust=Trust(all=True))


@pytest.mark.parametrize("name", ["results.json", "audit.json", "table.png", "workers.log", "dense-seed-0.safetensors"])
@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe"])
def test_a_foreign_folder_does_not_lead_elsewhere(recipe, undisturbed, tmp_path, name, kind):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    victim = tmp_path / "victim"
    if kind == "link":
        victim.write_text("precious")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name) if kind == "pipe" else (folder / name).symlink_to(victim)
    for act in (
        lambda: run(recipe, folder, workers=0),
        lambda: audited(folder),
        lambda: export(folder, phase="dense"),
    ):
        with pytest.raises(RedenseError, match=name):
            act()
    assert victim.exists() == (kind == "link")
    assert kind != "link" or victim.read_text() == "precious"
    assert (folder / name).is_fifo() if kind == "pipe" else (folder / name).is_symlink()


def leading_elsewhere(names, kind, tmp_path):
    """Make each name in turn lead out of a folder of its own, (folder, name); in the end nothing has come of it."""
    victim = tmp_path / "victim"
    if kind == "link":
        victim.write_text("precious")
    for number, name in enumerate(names):
        folder = tmp_path / str(number)
        folder.mkdir()
        os.mkfifo(folder / name) if kind == "pipe" else (folder / name).symlink_to(victim)
        yield folder, name
    assert victim.exists() == (kind == "link")
    assert kind != "link" or victim.read_text() == "precious"


@pytest.mark.xdist_group("audited_run")
@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe"])
def test_no_name_that_a_command_writes_leads_elsewhere(audited_run, tmp_path, kind):
    """Every file that lies in an audited run's folder was written there: each in turn is made to lead out of it."""
    folder = audited_run[0]
    names = [path.name for path in folder.iterdir() if path.is_file()]
    assert {"lock", "report.html", "shown.json", "audit.json", "risks.csv", "replicates.csv", "plan.json"} <= {*names}
    for copy, name in leading_elsewhere(names, kind, tmp_path):
        for write in (
            lambda copy=copy: check_targets(copy),  # before anything is trained
            lambda copy=copy, name=name: write_whole(copy / name, "new", inside=copy),
        ):
            with pytest.raises(FolderError, match=name):
                write()


@pytest.mark.parametrize("source", ["signals", "model"])
@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe"])
def test_no_name_that_an_audit_writes_leads_elsewhere(audited_files, tmp_path, capsys, monkeypatch, kind, source):
    """Every file that lies in the folder of an audit was written there: each in turn is made to lead out of it."""
    folder, commands = audited_files
    names = [path.name for path in folder.iterdir()]
    assert {"audit.json", "audit.csv", "audit.png", "audit.html"} == {*names}
    for copy, name in leading_elsewhere(names, kind, tmp_path):
        with pytest.raises(FolderError, match=name):
            write_audit(AuditResult.from_json((folder / "audit.json").read_text()), copy)
        with monkeypatch.context() as patched:
            patched.setattr("redense.auditing.saved.audit_evidence", pytest.fail)  # before anything is audited
            patched.setattr("redense.auditing.saved.audit", pytest.fail)
            with pytest.raises(SystemExit) as left:
                main([*commands[source], "--out", str(copy)])
        said = capsys.readouterr().err
        assert (left.value.code, said.count("\n"), name in said) == (2, 1, True)
        assert [path.name for path in copy.iterdir()] == [name]


def test_what_lies_in_the_current_folder_is_not_believed(tmp_path):
    """A library that comes with PyTorch looks there for another one, which a pipe without a writer would keep waiting.

    matplotlib takes settings from there; these start LaTeX.
    """
    os.mkfifo(tmp_path / "libcuda.so.1")
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\ntext.latex.preamble: \\input{/etc/passwd}\n")
    command = [*COMMAND, "digits", "--epochs", "1", "1", "1", "--sparsities", "0.5", "--seeds", "0", "--workers", "1"]
    done = subprocess.run(
        [*command, "--model", "mlp", "--out", "run"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"libcuda.so.1", "matplotlibrc", "run"}


@pytest.mark.parametrize(("variable", "package"), [("TORCH_LOGS", "torch"), ("MPLBACKEND", "matplotlib")])
def test_variables_that_a_library_does_not_understand_are_one_line(variable, package, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    command = [sys.executable, "-m", "redense", "audit", folder, "--trust"]
    env = {**environment(), variable: "nonsense"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f"redense: {package} cannot be loaded: " in done.stderr


@pytest.mark.parametrize("name", ["report.html", "shown.json"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_reports_are_not_written_elsewhere(undisturbed, tmp_path, name, kind):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    (tmp_path / "victim").write_text("precious")
    (folder / name).unlink()
    os.mkfifo(folder / name) if kind == "pipe" else (folder / name).symlink_to(tmp_path / "victim")
    with pytest.raises(FolderError, match=name):
        write_report([folder])
    assert (tmp_path / "victim").read_text() == "precious"
    if name == "report.html":  # who names a file has said so
        write_report([folder], tmp_path / "named.html")


@pytest.mark.parametrize("name", FOLDERS)
def test_no_folder_of_a_run_leads_elsewhere(recipe, undisturbed, tmp_path, name):
    folder, elsewhere = shutil.copytree(undisturbed, tmp_path / "run"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    if (folder / name).exists():
        (folder / name).rename(tmp_path / "moved")
    (folder / name).symlink_to(elsewhere)
    for act in (lambda: run(recipe, folder, workers=0), lambda: audited(folder)):
        with pytest.raises(FolderError, match=f"{name} is a link to .*elsewhere"):
            act()
    assert [path.name for path in elsewhere.iterdir()] == ["precious"]


def test_a_phase_under_way_is_not_kept_elsewhere(recipe, undisturbed, tmp_path):
    """Contents of its folder are read, set aside and deleted."""
    folder, elsewhere = shutil.copytree(undisturbed, tmp_path / "run"), tmp_path / "elsewhere"
    for name in ("000001", f"{TEMPORARY}another"):
        (elsewhere / name).mkdir(parents=True)
    missing = without_one(folder)
    (folder / "progress" / missing).symlink_to(elsewhere)
    store = Store(folder)
    for act in (
        lambda: run(recipe, folder, workers=0),
        lambda: store.save_progress(missing, Progress(1, {}, {}, (), 0.0)),
        lambda: store.load_progress(missing),
        lambda: store.environment(missing),
    ):
        with pytest.raises(FolderError, match=f"{missing} is a link to .*elsewhere"):
            act()
    assert sorted(path.name for path in elsewhere.iterdir()) == [f"{TEMPORARY}another", "000001"]


def test_a_pipe_that_is_named_stays_a_pipe(undisturbed, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE)
    assert export(undisturbed, phase="dense", out=tmp_path / "pipe") == tmp_path / "pipe"
    content, _ = reader.communicate(timeout=60)
    assert content == export(undisturbed, phase="dense", out=tmp_path / "file").read_bytes()
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_that_is_named_stays_a_folder(undisturbed, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(FolderError, match="cannot be written"):
        export(undisturbed, phase="dense", out=tmp_path / "folder")
    assert (tmp_path / "folder").is_dir()


def without_one(folder):
    """Take one finished phase out of a run, and return its key."""
    missing = next(path for path in (folder / "checkpoints").iterdir() if path.is_dir())
    shutil.rmtree(missing)
    (folder / "progress").mkdir(exist_ok=True)
    return missing.name


def test_odd_files_in_a_runs_folder_do_no_harm(recipe, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    expected = checkpoints(folder)
    for place in (".DS_Store", "checkpoints/.DS_Store", "progress/.nfs000000001", "audit/.DS_Store", "notes.txt"):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_text("x")
    missing = without_one(folder)
    for name in ("0abc", "000001 (conflicted copy)", "1", "\N{ARABIC-INDIC DIGIT ONE}" * 6):
        (folder / "progress" / missing / name).mkdir(parents=True)
    (folder / "link").symlink_to("/etc/hostname")
    (folder / "broken").symlink_to("nowhere")
    (folder / "damaged").mkdir(exist_ok=True)
    os.mkfifo(folder / "checkpoints" / "pipe")
    assert len(run(recipe, folder, workers=0).rows) == 5
    assert {name: content for name, content in checkpoints(folder).items() if "DS_Store" not in name} == expected
    audited(folder)


def test_a_file_in_the_place_of_a_phase_under_way_is_set_aside(recipe, undisturbed, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    expected = checkpoints(folder)
    (folder / "progress" / without_one(folder)).write_text("x")
    run(recipe, folder, workers=0)
    assert checkpoints(folder) == expected


def test_what_the_machine_has_is_printed_beforehand(recipe, tmp_path):
    text = io.StringIO()
    dry_run(recipe, tmp_path / "run", console=Console(file=text, width=200))
    assert "Machine: " in text.getvalue()
    assert "GB of memory free" in text.getvalue()
