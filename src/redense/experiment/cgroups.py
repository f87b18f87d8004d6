"""What control groups leave of a machine: the process' own group and all around it, of both versions of Linux.

Containers, batch systems and systemd nest groups, and each has limits of its own; the smallest holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Files:
    """How a version of control groups calls its files; `mounts` are the places where its groups may lie.

    `controller` is the name in ``/proc/self/cgroup``, "" for the second version, which has one hierarchy for all.
    """

    controller: str
    mounts: tuple[str, ...]
    names: tuple[str, ...]


MEMORY = (
    Files("", ("", "unified"), ("memory.max", "memory.current", "memory.stat")),
    Files("memory", ("memory",), ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")),
)
CPU = (
    Files("", ("", "unified"), ("cpu.max",)),
    Files("cpu", ("cpu", "cpu,cpuacct", "cpuacct,cpu"), ("cpu.cfs_quota_us", "cpu.cfs_period_us")),
)
UNLIMITED = 1 << 60
"""Bytes; the older version writes a number above it where there is no limit."""


def memory_left(root: Path = Path("/")) -> int | None:
    """Return the bytes that new processes can take by all groups' limits, None where there is none.

    `root` is where ``proc`` and ``sys`` lie. Caches that the system drops when memory runs short count as left.
    """
    left = []
    for limit, usage, statistics in _texts(MEMORY, root):
        if limit.isdigit() and usage.isdigit() and int(limit) < UNLIMITED:
            left.append(int(limit) - int(usage) + _reclaimable(statistics))
    return max(0, min(left)) if left else None


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return how many processors' time all groups' quotas leave, None where there is none."""
    quotas = []
    for texts in _texts(CPU, root):
        quota, period = (*" ".join(texts).split(), "", "")[:2]  # "max 100000", "-1 100000": none
        if quota.isdigit() and period.isdigit() and int(quota) and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _texts(versions: tuple[Files, ...], root: Path) -> Iterator[list[str]]:
    """Yield what the files say of every group that the process is in, from its own outwards; "" for missing ones."""
    own = _own_groups(root)
    for version in versions:
        for mount in version.mounts:
            base = root / "sys/fs/cgroup" / mount
            path = own.get(version.controller, PurePosixPath("/"))
            for group in (path, *path.parents):
                texts = [_text(base / group.relative_to("/") / name) for name in version.names]
                if any(texts):
                    yield texts


def _own_groups(root: Path) -> dict[str, PurePosixPath]:
    """Return the path of the process' own group by controller."""
    groups = {}
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if path.startswith("/") and ".." not in PurePosixPath(path).parts:  # ".." is outside of what is seen here
            groups.update(dict.fromkeys(controllers.split(","), PurePosixPath(path)))
    return groups


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _reclaimable(statistics: str) -> int:
    for line in statistics.splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file" and value.isdigit():
            return int(value)
    return 0
