"""Words that pages use and not every reader knows, each in one sentence; docs/glossary.md says the same."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A term, one sentence on what it means, and a regular expression of how pages write it (by default the term)."""

    term: str
    says: str
    found: str = ""

    def is_in(self, text: str) -> bool:
        """Tell whether a text uses the term."""
        return re.search(rf"(?<![\w-])(?:{self.found or re.escape(self.term)})(?![\w-])", text) is not None


WORDS = (
    Word("DSD", "A method that trains a network dense, then sparse, then dense again."),
    Word(
        "phase",
        "A part of a training with rules of its own, such as dense, sparse or re-dense; each goes on from the network "
        "that the one before left.",
        "phases?",
    ),
    Word(
        "dense, sparse, re-dense",
        "The phases of DSD: training with all weights, with some held at zero, and with all again.",
        "re-dense|sparse",
    ),
    Word("sparsity", "The share of the weights that a sparse phase holds at zero: 50% in *sparse 50%*.", "[Ss]parsity"),
    Word("mask", "The list of which weights are kept and which are held at zero.", "masks?"),
    Word(
        "control",
        "A training with the method's budget and without its masks, which tells what the method itself adds.",
        "[Cc]ontrols?|control-\\w+",
    ),
    Word("control-longer", "The control with the same epochs and learning rates as the phase that it stands beside."),
    Word("control-llr", "The control that trains the whole remaining budget at the method's last, low learning rate."),
    Word("control-early", "The control that keeps the epoch which is best on examples set aside for that."),
    Word("epoch", "One pass through all training data.", "epochs?"),
    Word(
        "seed",
        "The number from which a training draws all that is random; another seed is the same training once more, with "
        "other luck.",
        "seeds?",
    ),
    Word(
        "cross-entropy",
        "The loss that training makes small: the less probability the right class is given, the larger it is.",
    ),
    Word(
        "inference accuracy",
        "How often somebody who sees how sure the model is of an example rightly says whether it was trained on, with "
        "the best threshold for these examples; 50% is guessing.",
        "[Ii]nference( accuracy| %)",
    ),
    Word("member, non-member", "An example that the model was trained on; one like it that it was not.", "[Mm]embers?"),
    Word("target", "The model under audit.", "targets?"),
    Word(
        "reference model",
        "A model trained as the audited one was, on another choice of the examples, from which attacks learn what is "
        "usual.",
        "reference models?",
    ),
    Word("score", "An attack's number for an example: the higher, the more likely a member.", "scores?"),
    Word("threshold", "The score, or how sure a model is, from which on an attack says *member*.", "thresholds?"),
    Word(
        "protocol",
        "Where members come from: all training data (*all*), a random half of all examples (*half*), or as the user "
        "gave them (*given*).",
        "protocols?",
    ),
    Word("oracle", "The accuracy with the threshold that happens to be best here, which no attacker knows."),
    Word("AUC", "How often a random member has a higher score than a random non-member; 0.5: as good as guessing."),
    Word("FPR", "False-positive rate: the share of the non-members that are wrongly accused of being members."),
    Word(
        "TPR",
        "True-positive rate: the share of the members that are found; at 10% FPR guessing finds 10%.",
    ),
    Word(
        "ROC curve",
        "A line that shows, threshold by threshold, how many members are found and how many others wrongly accused.",
        "ROC( curves?)?",
    ),
    Word(
        "epsilon, ε",
        "The privacy loss of differential privacy: at 0 no attack can do better than guessing, and the larger, the "
        "more may be given away.",
        "ε|epsilon",
    ),
    Word("p", "How often chance alone would show at least as much where there is nothing; the smaller, the surer."),
    Word(
        "Holm's correction",
        "It makes every p larger for the number of claims, so that in at most 5% of runs is any of them false, if each "
        "p by itself is right: if trainings scatter about symmetrically.",
        "Holm's( correction)?",
    ),
    Word(
        "95% interval",
        "A range, in brackets, that holds the true figure in 95% of cases; the wider, the less is known.",
        "95%( intervals?)?",
    ),
)
"""Terms of trainings and audits, in the order of a page; attacks have their own."""


def words_of(page: str, words: Iterable[Word] = WORDS) -> list[tuple[str, str]]:
    """Return those of the terms that the text of a page, given as HTML, uses, each with its sentence.

    >>> [term for term, _ in words_of("<p>The AUC with a <b>mask</b></p>")]
    ['mask', 'AUC']
    """
    text = html.unescape(re.sub(r"<[^>]*>", " ", page))
    return [(word.term, word.says.replace("*", "")) for word in words if word.is_in(" ".join(text.split()))]
