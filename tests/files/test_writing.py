import errno
import os
import threading
import warnings
from pathlib import Path

import pytest

from redense.errors import FolderError
from redense.files.writing import TEMPORARY, picture, png_bytes, write_png, write_whole


def test_a_file_is_the_old_or_the_new_one(tmp_path):
    path = tmp_path / "results.json"
    write_whole(path, "old")
    write_whole(path, b"new \xff")
    assert path.read_bytes() == b"new \xff"
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_on_the_way_leaves_the_old_file_and_nothing_else(error, tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    path.write_text("old")

    def failing(_):
        raise error

    monkeypatch.setattr(os, "fsync", failing)
    expected = FolderError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match="cannot be written .No space left" if isinstance(error, OSError) else None):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_a_place_that_is_no_folder_is_one_line(tmp_path):
    for path in (tmp_path / "nowhere" / "file", tmp_path):
        with pytest.raises(FolderError, match="cannot be written"):
            write_whole(path, "new")
    assert list(tmp_path.iterdir()) == []


def test_a_current_folder_that_has_been_deleted(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(FolderError, match="cannot be written"):
        write_whole(Path("run/recipe.json"), "new", inside=Path("run"))


@pytest.mark.parametrize("way", ["to a file", "to nothing yet", "to a link", "to another folder"])
def test_a_link_stays_and_its_file_is_written(way, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "target"
    link = tmp_path / "link"
    if way != "to nothing yet":
        target.write_text("old")
    if way == "to a link":
        (tmp_path / "between").symlink_to(target)
    link.symlink_to({"to a link": "between", "to another folder": "elsewhere/target"}.get(way, target))
    write_whole(link, "new")
    assert link.is_symlink()
    assert (target.read_text(), target.is_symlink()) == ("new", False)
    assert [entry.name for entry in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o440])
def test_a_file_keeps_its_mode(mode, tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    write_whole(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o7777) == ("new", mode)


def test_a_new_file_has_the_mode_that_new_files_have(tmp_path):
    (tmp_path / "plain").write_text("")
    write_whole(tmp_path / "whole", "")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


def looping(folder):
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


def below_a_file(folder):
    (folder / "file").write_text("")
    return folder / "file" / "below"


@pytest.mark.parametrize(
    ("place", "advice"),
    [
        (lambda folder: folder / ("n" * 256), "File name too long.; choose a shorter name"),
        (lambda folder: folder / ("n" * 256) / "file", "File name too long.; choose a shorter name"),
        (lambda folder: folder, "Is a directory.; expected the name of a file"),
        (lambda folder: folder / "nowhere" / "file", "No such file or directory.; make its folder first"),
        (below_a_file, "Not a directory.; a part of it is a file"),
        (looping, "symbolic links.; a link there leads to itself"),
    ],
)
def test_the_advice_fits_the_cause(place, advice, tmp_path):
    path = place(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(FolderError, match=f"cannot be written .*{advice}"):
        write_whole(path, "new")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EACCES, "where you may write"),
        (errno.EROFS, "where you may write"),
        (errno.EMFILE, "ulimit"),
        (errno.EIO, "choose another place"),
    ],
)
def test_the_advice_fits_what_the_system_says(number, advice, tmp_path, monkeypatch):
    def failing(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(FolderError, match=f"{os.strerror(number)}.; .*{advice}"):
        write_whole(tmp_path / "file", "new")


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, "through")
    reader.join(timeout=10)
    assert read == [b"through"]
    assert pipe.is_fifo()


def test_a_device_stays_a_device():
    assert Path(os.devnull).is_char_device(), "this machine's null device is broken; nothing can be shown with it"
    write_whole(Path(os.devnull), "gone")
    assert Path(os.devnull).is_char_device()


def test_writers_at_once_do_not_meet(tmp_path):
    path = tmp_path / "file"
    contents = [bytes([65 + number]) * 100_000 for number in range(8)]
    writers = [threading.Thread(target=write_whole, args=(path, content)) for content in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_bytes() in contents
    assert not list(tmp_path.glob(f"{TEMPORARY}*"))


def test_letters_that_no_font_here_has_are_no_warning_and_all_others_are(tmp_path):
    figure = picture(figsize=(2, 1), dpi=20)
    figure.suptitle("\u5b66\u7fd2 \U0001f469")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        write_png(tmp_path / "a.png", figure)
        assert figure._repr_png_() == (tmp_path / "a.png").read_bytes()
    assert [str(one.message) for one in told] == []

    class Warns:
        def savefig(self, buffer, format):
            warnings.warn("of another kind", stacklevel=1)

    with pytest.warns(UserWarning, match="of another kind"):
        png_bytes(Warns())


def test_letters_that_utf8_has_not_are_escaped(tmp_path):
    """Names of files in other encodings have such; nothing in them is lost, and nothing fails."""
    write_whole(tmp_path / "a.csv", "caf\xe9 \udce9 \ud800\n")
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "caf\xe9 \\udce9 \\ud800\n"
