"""What was computed once and is kept under the key of all that it depends on: believed only as what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redense.files.reading import JSON_LIMIT, plain_bytes
from redense.files.writing import write_whole


def key_of(determinants: Any) -> str:
    """Return the key of what depends on JSON values alone, whatever the order of names in mappings.

    >>> key_of({"seed": 0, "epochs": 2}) == key_of({"epochs": 2, "seed": 0}) != key_of({"seed": 1, "epochs": 2})
    True
    """
    return hashlib.sha256(json.dumps(determinants, sort_keys=True).encode()).hexdigest()[:32]


def write_kept(path: Path, key: str, values: Mapping[str, Any], *, inside: Path | None = None) -> None:
    """Keep JSON values under a key, with their checksum; `inside` as for `write_whole`."""
    body = {"key": key, **values}
    write_whole(path, json.dumps({**body, "checksum": _checksum(body)}), inside=inside)


def read_kept(path: Path, key: str) -> dict[str, Any] | None:
    """Return what `write_kept` kept under a key; None where nothing is, or something else or damaged: make it again."""
    try:
        body = json.loads(plain_bytes(path, JSON_LIMIT))
        checksum = body.pop("checksum")
        sound = isinstance(body, dict) and body.get("key") == key and checksum == _checksum(body)
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
    return body if sound else None


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
