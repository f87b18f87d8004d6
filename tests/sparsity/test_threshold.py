import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redense.sparsity.threshold import kth_smallest, smallest

# few distinct values, so that ties are the rule
MAGNITUDES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0]) | st.floats(0, 10, width=32), min_size=1, max_size=60)


@given(MAGNITUDES, st.data())
def test_smallest_is_the_head_of_a_stable_sort(values, data):
    count = data.draw(st.integers(0, len(values)))
    oracle = np.zeros(len(values), dtype=bool)
    oracle[np.argsort(np.array(values, dtype=np.float32), kind="stable")[:count]] = True
    assert smallest(torch.tensor(values), count).tolist() == oracle.tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_kth_smallest_agrees_with_sorting_for_every_type(dtype):
    values = torch.rand(999, generator=torch.Generator().manual_seed(0)).to(dtype)
    for k in (1, 500, 999):
        assert kth_smallest(values, k) == values.sort().values[k - 1]


@pytest.mark.parametrize("count", [-1, 4])
def test_count_out_of_range(count):
    with pytest.raises(ValueError, match="expected 0 to 3"):
        smallest(torch.ones(3), count)
