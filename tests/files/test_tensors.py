import json
import struct

import pytest

import redense
from redense.errors import ModelError
from redense.files.tensors import tensors_of
from redense.models.registry import build, load_weights


@pytest.mark.parametrize(("kind", "size"), [("F8_E8M0", 8), ("F4", 4), ("F6_E2M3", 6), ("F6_E3M2", 6), ("U9", 8)])
def test_types_that_cannot_be_read_are_one_line(kind, size, tmp_path):
    """safetensors has names for types that PyTorch, or its own way into PyTorch, lacks."""
    header = json.dumps({"w": {"dtype": kind, "shape": [8], "data_offsets": [0, size]}}).encode()
    path = tmp_path / "file"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    with pytest.raises(ValueError, match=kind):
        tensors_of(path.read_bytes())
    for read in (redense.load_sparse, lambda path: load_weights("mlp", build("mlp", (2,), 2), path)):
        with pytest.raises(ModelError, match="cannot be read") as error:
            read(path)
        assert "\n" not in str(error.value)
