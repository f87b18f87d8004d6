import errno
import os
import threading
from pathlib import Path

import pytest

from redense.errors import FolderError
from redense.files import TEMPORARY, write_whole


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
