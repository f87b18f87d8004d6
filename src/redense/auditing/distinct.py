"""Which examples count: equal inputs are one case, however often they are given."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from redense.attacks.references import Included
from redense.auditing.evidence import Evidence, Places, some_evidence
from redense.auditing.result import AuditResult
from redense.errors import DataError
from redense.metrics.roc import Members
from redense.text import percent

MOST_OVERLAP = 0.01
"""Of the distinct inputs of the smaller side: more common ones are an error."""
OVERLAP_REMEDY = "expected two separate sets: take the common ones out"
SIDES = "among the members and among the non-members"


@dataclass(frozen=True)
class Distinct:
    """Which of n examples count as independent cases: of equal inputs of one side the first, of those of both none.

    A model says the same of equal inputs, and labels only choose what of it is looked at, so copies are no further
    cases. Inputs that are on both sides belong to neither. `inputs` int64 [n] are equal for equal inputs, `first` [n]
    is the place of the first equal one of the same side, `both` bool [n] tells whether the other side has one.

    >>> inputs = np.array([b"a", b"b", b"a", b"c", b"b", b"c", b"c"])
    >>> Distinct.of(inputs, np.array([True, True, True, False, False, False, False])).counts.tolist()
    [True, False, False, True, False, False, False]
    """

    inputs: Places
    first: Places
    both: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, digests: npt.NDArray[np.bytes_], side: npt.NDArray[np.bool_]) -> Distinct:
        """Compare n examples by fingerprints of their inputs; `side` bool [n] is which of two each is on."""
        inputs, of_input = np.unique(digests, return_inverse=True)
        sides, start, of_side = np.unique(2 * of_input + side, return_index=True, return_inverse=True)
        both = np.bincount(sides // 2, minlength=len(inputs)) == 2
        return cls(of_input, start[of_side], both[of_input])

    @property
    def counts(self) -> npt.NDArray[np.bool_]:
        """Whether an example counts, bool [n]."""
        return ~self.both & ~self._again

    @property
    def _again(self) -> npt.NDArray[np.bool_]:
        """Whether an example repeats an earlier one of its side, bool [n]."""
        again: npt.NDArray[np.bool_] = self.first != np.arange(len(self.first))
        return again

    @property
    def places(self) -> Places:
        """Where the examples stand that count, int64 [k], ascending."""
        return np.flatnonzero(self.counts)

    @property
    def repeated(self) -> Places:
        """Where the examples stand that count and are repeated on their side, int64 [r], ascending."""
        return np.unique(self.first[self._again & ~self.both])

    def of_any_copy(self, included: Included) -> Included:
        """Return which models [m] were trained on an example [n], the first of its equals, or on any copy of it."""
        found = included.copy()
        copies = np.flatnonzero(self._again)
        np.logical_or.at(found.T, self.first[copies], included.T[copies])
        return found

    def evidence(self, evidence: Evidence) -> Evidence:
        """Leave out what does not count.

        A reference model was trained on an example where it was trained on any of its copies.
        """
        if self.counts.all():
            return evidence
        references = evidence.references
        if references is not None:
            references = replace(references, included=self.of_any_copy(references.included))
        return some_evidence(replace(evidence, references=references), self.places)

    def result(self, result: AuditResult, members: Members) -> AuditResult:
        """Put what was found on the examples that count where they stand among all n, of which `members` [n] are some.

        The others have no risk: NaN.
        """
        assert result.risks is not None
        places, left_out = self.places, ~self.counts
        risks = np.full(len(left_out), np.nan)
        risks[places] = result.risks
        return replace(
            result,
            risks=risks,
            exposed=tuple(replace(one, example=int(places[one.example])) for one in result.exposed),
            members_left_out=int((left_out & members).sum()),
            nonmembers_left_out=int((left_out & ~members).sum()),
        )

    def warnings(self, members: Members, between: str = SIDES) -> list[str]:
        """Say how many of n examples do not count, and why; raise what `refuse_overlap` does.

        `members` [n] tells who is a member, `between` what the two sides are.
        """
        self.refuse_overlap(members)
        common = len(np.unique(self.inputs[self.both]))
        found = []
        if common:
            found.append(
                f"{int(self.both.sum()):,} examples have inputs that are {between} ({common:,} of them distinct), "
                "and were left out: what was trained on is no non-member; take them out of one side"
            )
        mine, theirs = _present(self.inputs, members)
        apart = mine & theirs
        apart[self.inputs[self.both]] = False
        if apart.any():
            found.append(
                f"inputs that are among the members and, repeated, among the non-members: {int(apart.sum()):,}; what "
                "the model has learnt of the one it says of the other, which hides a leak; take repetitions out of the "
                "data"
            )
        for side, name in ((members, "members"), (~members, "non-members")):
            again = int((side & self._again & ~self.both).sum())
            if again:
                found.append(
                    f"{again:,} of {int(side.sum()):,} {name} are repetitions of others (equal inputs), and were left "
                    "out: the model says the same of them, and to count them as further cases is to find leaks by "
                    "chance; all figures are of distinct examples; give each once, and look where copies come from, "
                    "such as oversampling or drawing with replacement"
                )
        return found

    def refuse_overlap(self, members: Members, remedy: str = OVERLAP_REMEDY) -> None:
        """Raise `DataError` when more than `MOST_OVERLAP` of the smaller side's distinct inputs are on both sides."""
        mine, theirs = _present(self.inputs, members)
        overlap, smaller = int((mine & theirs).sum()), int(min(mine.sum(), theirs.sum()))
        if overlap > MOST_OVERLAP * smaller:
            raise DataError(
                f"{overlap:,} inputs are among the members and among the non-members, more than "
                f"{percent(MOST_OVERLAP)} of {smaller:,}; {remedy}"
            )


def _present(inputs: Places, members: Members) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Tell which of all inputs are among the members, and which among the non-members."""
    size = inputs.max() + 1
    mine, theirs = (np.bincount(inputs[side], minlength=size) > 0 for side in (members, ~members))
    return mine, theirs
