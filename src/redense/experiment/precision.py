"""What bfloat16 takes over in training, and where it is slow.

A forward pass, and so the backward pass that PyTorch derives from it, is in bfloat16 where autocast allows; weights,
gradients that reach them, the optimizer's state and masks stay float32. bfloat16 has float32's range of exponents, so
nothing underflows that a scaled loss would save.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from redense.errors import FOREIGN, ModelError
from redense.experiment.recipe import Precision
from redense.models.evaluation import evaluating
from redense.text import one_line

UNITS = ("avx512_bf16", "amx_bf16", "bf16")
"""What PyTorch calls units of processors that multiply bfloat16: two of x86, one of ARM."""
AMPERE = (8, 0)
"""The first compute capability of GPUs that do."""


def logits_in(
    precision: Precision, model: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor
) -> torch.Tensor:
    """Ask a model in training; in bfloat16 its logits [n, classes] are float32 again, for the loss.

    >>> layer = torch.nn.Linear(2, 3)
    >>> logits = logits_in("bf16", layer, torch.ones(5, 2))
    >>> logits.dtype, torch.equal(logits, logits.bfloat16().float()), layer.weight.dtype
    (torch.float32, True, torch.float32)
    """
    try:
        if precision == "fp32":
            return model(inputs)
        with torch.autocast(inputs.device.type, torch.bfloat16):
            logits = model(inputs)
        torch.clear_autocast_cache()  # or within another autocast, even one that is off, weights of now stay for later
    except SystemExit as end:
        raise ModelError(
            f"the model left with sys.exit({end.code!r}) in training; expected logits, or an error"
        ) from end
    return logits.float()


def check_precision(precision: Precision, name: str, model: nn.Module, examples: torch.Tensor) -> None:
    """Raise `ModelError` where a model that takes the examples [n, ...] in float32 fails in a recipe's precision."""
    if precision == "fp32":
        return
    try:
        with evaluating(model):
            logits_in(precision, model, examples)
    except FOREIGN as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ModelError(f"precision: got {precision}, in which model {name} raised {reason}; use fp32") from error


def why_slow(device: str) -> str | None:
    """Say why bfloat16 is slower than float32 on a device, or return None where it has units for it."""
    if device == "cuda":
        return None if torch.cuda.get_device_capability() >= AMPERE else "this GPU has no bfloat16 units"
    found = torch.cpu.get_capabilities()
    return None if any(found.get(name) for name in UNITS) else f"this processor has none of {', '.join(UNITS)}"
