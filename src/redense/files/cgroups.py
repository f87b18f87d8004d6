"""What a machine leaves, and the control groups of the process: its own and all around it, of both versions of Linux.

Containers, batch systems and systemd nest groups, and each has limits of its own; the smallest holds.
"""

from __future__ import annotations

import os
import re
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


def available_bytes(root: Path = Path("/")) -> int:
    """Return the memory that new processes can take: the machine's, or what control groups leave of it.

    `root` is where ``proc`` and ``sys`` lie. Caches that the system drops when memory runs short count as available.
    """
    found = re.search(r"^MemAvailable:\s*(\d+)", _text(root / "proc/meminfo"), re.MULTILINE)
    machine = total_bytes() if found is None else 1024 * int(found[1])  # no Linux that says so
    left = memory_left(root)
    return machine if left is None else min(machine, left)


def total_bytes() -> int:
    """Return how much memory the machine has, free or not."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_left(root: Path = Path("/")) -> int | None:
    """Return the bytes that new processes can take by all groups' limits, None where there is none.

    `root` is where ``proc`` and ``sys`` lie. Caches that the system drops when memory runs short count as left.
    """
    left = [limit - used for limit, used in _memory(root)]
    return max(0, min(left)) if left else None


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return the smallest of all groups' limits in bytes, whatever of it is used, None where there is none."""
    return min((limit for limit, _ in _memory(root)), default=None)


def _memory(root: Path) -> Iterator[tuple[int, int]]:
    """Yield the limit of every group that has one, and what is used of it for good."""
    for limit, usage, statistics in _texts(MEMORY, root):
        if limit.isdigit() and usage.isdigit() and int(limit) < UNLIMITED:
            yield int(limit), int(usage) - _reclaimable(statistics)


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
