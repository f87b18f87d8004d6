import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redense.errors import RecipeError
from redense.files.reading import Unread
from redense.methods import CONTROLS, dsd
from redense.phases import Phase, of_table, running, total

PHASES = st.lists(
    st.builds(
        Phase,
        kind=st.sampled_from(["dense", "sparse", "redense"]),
        epochs=st.integers(0, 4),
        rate=st.floats(0.1, 1),
        sparsity=st.none() | st.floats(0, 0.9),
        round=st.integers(0, 3),
    ),
    min_size=1,
    max_size=6,
)


@given(PHASES, st.integers(0, 30))
def test_the_clock_is_that_of_counting_epoch_by_epoch(phases, progress):
    epoch_by_epoch = [(phase, since) for phase in phases for since in range(phase.epochs)]
    at_the_end = (phases[-1], phases[-1].epochs)
    assert running(phases, progress) == (epoch_by_epoch[progress] if progress < len(epoch_by_epoch) else at_the_end)
    assert total(phases) == len(epoch_by_epoch)


def test_a_phase_survives_a_flat_row():
    for phase in (*dsd(0.5, (2, 1, 1), rounds=2), *CONTROLS["longer"].phases(dsd(0.0, (2, 1, 1)))):
        row = json.loads(json.dumps({**phase.to_columns(), "seed": 0}))
        assert row["phase"] == phase.kind
        assert Phase.from_columns({**row, "other": 1}) == (phase, {"seed": 0, "other": 1})


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": float("nan")},
        {"rate": float("inf")},
        {"rate_end": -1.0},
        {"epochs": -1},
        {"sparsity": 5.0},
        {"round": -1},
    ],
)
def test_a_phase_that_cannot_be_is_not_read(wrong):
    row = dsd(0.5, (2, 1, 1))[1].to_columns()
    with pytest.raises(Unread):
        Phase.from_columns({**row, **wrong})


@pytest.mark.parametrize("kind", ["redense", "", [], {}, None, True, 7])
def test_a_kind_that_is_none_is_refused_whatever_it_is(kind):
    with pytest.raises(RecipeError, match="expected a table with kind dense or sparse, and epochs"):
        of_table({"kind": kind, "epochs": 1})
