import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redense import choose_masks
from redense.sparsity.checks import DistributionName
from redense.sparsity.distributions import DISTRIBUTIONS, pruned_counts

SHAPES = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.lists(st.integers(1, 12), min_size=2, max_size=4).map(tuple),
    min_size=1,
    max_size=5,
)


def test_every_name_has_a_line():
    assert tuple(DISTRIBUTIONS) == get_args(DistributionName)


@given(SHAPES, st.floats(0, 0.97))
def test_erdos_renyi_kernel_against_a_slow_solution(shapes, sparsity):
    """Bisect the one unknown of the paper's rule, the scale of the densities, and compare within rounding."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    raw = {name: sum(shape) / math.prod(shape) for name, shape in shapes.items()}
    counts = pruned_counts(shapes, sizes, sparsity, "erk")
    total = sum(sizes.values())
    assert sum(counts.values()) == round(sparsity * total)
    low, high = 0.0, 1e9
    for _ in range(200):
        scale = (low + high) / 2
        kept = sum(n * min(1.0, scale * raw[name]) for name, n in sizes.items())
        low, high = (scale, high) if kept < total - round(sparsity * total) else (low, scale)
    for name, n in sizes.items():
        assert abs(counts[name] - n * (1 - min(1.0, high * raw[name]))) <= 1 + 1e-6 * n


def test_erdos_renyi_kernel_published_densities():
    """Two layers of Evci et al.: density scales with (in + out + kernel) / (in * out * kernel)."""
    shapes = {"wide": (64, 64, 3, 3), "narrow": (16, 16, 3, 3)}
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    counts = pruned_counts(shapes, sizes, 0.9, "erk")
    density = {name: 1 - counts[name] / sizes[name] for name in shapes}
    assert density["narrow"] / density["wide"] == pytest.approx((38 / 2304) / (134 / 36864), rel=1e-2)


def test_a_mapping_takes_the_first_pattern_that_matches():
    units = {"a.weight": 10, "b.weight": 10, "b.c.weight": 10, "d.weight": 10}
    shapes = dict.fromkeys(units, (2, 5))
    counts = pruned_counts(shapes, units, 0.5, {"b.c": 0.1, "b*": 0.2, "a.weight": 0.0})
    assert counts == {"a.weight": 0, "b.weight": 2, "b.c.weight": 1, "d.weight": 5}


@given(st.integers(0, 1000), st.floats(0, 0.85), st.sampled_from(["uniform", "global", "erk"]))
def test_the_total_is_exact_and_the_smallest_go(seed, sparsity, distribution):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(7, 9), torch.nn.Linear(9, 8))
    masks = choose_masks(model, sparsity=sparsity, distribution=distribution)
    pruned = sum(int((~mask).sum()) for mask in masks.values())
    expected = sum(round(sparsity * n) for n in (63, 72)) if distribution == "uniform" else round(sparsity * 135)
    assert pruned == expected
    for name, mask in masks.items():
        magnitudes = model.get_parameter(name).abs()
        if not mask.all():
            assert magnitudes[~mask].max() <= magnitudes[mask].min()
