import os

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Subset
from torchvision.datasets import ImageFolder

from redense.data.names import names_of


@pytest.fixture
def images(tmp_path):
    for name in ("b/2.png", "a/1.png", "a/10.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / name)
    return ImageFolder(str(tmp_path))


def test_images_are_called_by_their_files(images):
    files = [os.path.join("a", "1.png"), os.path.join("a", "10.png"), os.path.join("b", "2.png")]
    assert names_of([images], [3]) == files
    part = Subset(images, [2, 0])
    assert names_of([part, images], [2, 3]) == [files[2], files[0], *files]
    assert names_of([Subset(part, [1])], [1]) == [files[0]]
    assert names_of([DataLoader(part, batch_size=2)], [2]) == [files[2], files[0]]


def test_what_has_no_names_is_called_by_its_place(images):
    arrays = (np.zeros((2, 3)), np.zeros(2, dtype=int))
    assert names_of([arrays, arrays], [2, 2]) is None
    assert names_of([arrays, Subset(images, [0])], [2, 1]) == ["0", "1", os.path.join("a", "1.png")]
    in_batches = DataLoader(images, batch_sampler=BatchSampler(RandomSampler(images), 2, False))
    for loader in (DataLoader(images, shuffle=True), in_batches):
        assert names_of([loader], [3]) is None, "nobody knows the order"
    assert names_of([images], [2]) is None, "some were left out, and nobody knows which"
