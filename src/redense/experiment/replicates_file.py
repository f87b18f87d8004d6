"""What the file is in which an audit writes what replicates found: known without PyTorch, which making them needs."""

from __future__ import annotations

from redense.files.reading import Written

FILE = "replicates.json"
FORMAT = 1
WRITTEN = Written("what replicates found", FORMAT, "`redense audit` of this folder writes it anew")
