"""The third step of a run: read every finished phase's figures off its checkpoint."""

from __future__ import annotations

import numpy as np

from redense.experiment.checkpoints import Store
from redense.experiment.equal_accuracy import Trace
from redense.experiment.plan import Job
from redense.experiment.prepare import Prepared
from redense.experiment.results import Results, Row
from redense.experiment.trained import Checkpoint, best_epoch
from redense.experiment.trainer import first_eligible
from redense.metrics.accuracy import balanced_accuracy_interval_of
from redense.metrics.intervals import cross_fitted_accuracy, halves_of
from redense.metrics.roc import Members
from redense.phases import Phase
from redense.sparsity.masks import Masks
from redense.sparsity.select import prunable
from redense.sparsity.zeros import fraction_of_zeros


def measure(prepared: Prepared, store: Store) -> tuple[Results, dict[Phase, Masks]]:
    """Read every finished phase's checkpoint, once.

    Returns the rows and the comparisons that they allow, and the masks of the first seed's sparse phases, as far as
    these are shown.
    """
    shown = prepared.shown
    names = list(prunable(prepared.model, prepared.recipe.exclude))
    rows: list[Row] = []
    masks: dict[Phase, Masks] = {}
    correct: dict[str, Members] = {}
    for job in prepared.jobs:
        checkpoint = store.load(job.key) if job.member_set is None else None
        if checkpoint is not None:
            rows.append(row_of(job, checkpoint, fraction_of_zeros([checkpoint.model[name] for name in names])))
            correct[job.key] = checkpoint.test.correct
            if job.pruning is not None and job.seed == prepared.recipe.seeds[0] and job.phase in shown:
                masks[job.phase] = checkpoint.masks
    dataset = prepared.dataset
    results = Results(prepared.recipe, len(dataset.y_train), len(dataset.y_test), tuple(rows))
    return results.compared(correct.__getitem__), masks


def row_of(job: Job, checkpoint: Checkpoint, measured_sparsity: float) -> Row:
    """Measure one trained phase: the attack's scores are the scaled logits of all members and non-members."""
    scores = np.concatenate([checkpoint.train.phi, checkpoint.test.phi])
    members = np.arange(len(scores)) < len(checkpoint.train.phi)
    halves = halves_of(scores, members)
    return Row(
        phase=job.phase,
        measured_sparsity=measured_sparsity,
        seed=job.seed,
        train_accuracy=float(checkpoint.train.correct.mean()),
        test_accuracy=float(checkpoint.test.correct.mean()),
        inference_accuracy=halves.whole.balanced_accuracy,
        inference_accuracy_cross_fitted=cross_fitted_accuracy(halves),
        inference_interval=balanced_accuracy_interval_of(halves),
        seconds=round(checkpoint.seconds, 3),
        checkpoint=job.key,
        history=Trace.of(checkpoint.history, len(checkpoint.test.phi)).points,
        kept_epoch=best_epoch(checkpoint.history, first_eligible(job)) if job.phase.keeps is not None else None,
        validation_history=tuple(
            epoch.validation_accuracy for epoch in checkpoint.history if epoch.validation_accuracy is not None
        ),
    )
