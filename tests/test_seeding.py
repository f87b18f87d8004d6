import hashlib

import torch

from redense.seeding import derive, generator, seed_global


def test_derivation_is_sha256_of_the_path():
    expected = int.from_bytes(hashlib.sha256(b'[3, "batches", 1]').digest()[:8], "big") >> 1
    assert derive(3, "batches", 1) == expected < 2**63


def test_streams_depend_on_their_name_alone():
    a, b = (torch.rand(3, generator=generator(0, "x", 1)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, torch.rand(3, generator=generator(0, "x", 2)))


def test_the_global_generator_is_started_as_torch_does_it():
    torch.manual_seed(5)
    expected = torch.rand(3)
    seed_global(5)
    assert torch.equal(torch.rand(3), expected)
