"""What of a folder must be the same in two runs of the same jobs."""

from redense.experiment.checkpoints import UNCHECKED


def folder_bytes(folder):
    """Yield the relative name and content of every checked file below a folder, sorted."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != UNCHECKED:
            yield str(path.relative_to(folder)), path.read_bytes()
