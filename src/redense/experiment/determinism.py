"""The arithmetic that keys name: what makes results the same on every run."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from typing import Any

import torch

from redense.experiment.machine import processor

SETTINGS = ("ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR")
"""Variables of the environment that choose other kernels, and so other bits."""

_mkldnn: Any = torch.backends.mkldnn  # not all of which PyTorch annotates
_ONEDNN = (_mkldnn.matmul, _mkldnn.conv, _mkldnn.rnn)
"""What oneDNN may compute with fewer bits than float32 has, where it is told so."""


@contextlib.contextmanager
def fixed_arithmetic(device: str, threads: int = 1) -> Iterator[None]:
    """Run the body with the arithmetic that keys name, whatever this process has been told before: on the CPU one
    thread, float32 as it is, oneDNN's kernels, and denormals flushed to zero.

    Sums depend on how they are split among threads; with one, bits depend neither on the machine's load nor on
    the number of workers; only where no bits are promised may there be more `threads`. Moments of weights that no
    longer get a gradient decay into denormals, a ninth of all after three epochs of the published network, and
    processors are slow at those. On CUDA: deterministic kernels. Nor does it matter whether the caller is within
    autocast or without gradients.
    """
    former_threads = torch.get_num_threads()
    deterministic = torch.backends.cudnn.deterministic
    onednn = _mkldnn.enabled
    precisions = [kind.fp32_precision for kind in _ONEDNN]
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = device != "cpu"
    kinds = {"cpu", torch.device(device).type}
    try:
        with contextlib.ExitStack() as stack:
            for kind in kinds:
                stack.enter_context(torch.autocast(kind, enabled=False))
            stack.enter_context(torch.inference_mode(mode=False))
            stack.enter_context(torch.enable_grad())
            settle(device)
            yield
    finally:
        torch.set_num_threads(former_threads)
        torch.set_flush_denormal(False)
        torch.backends.cudnn.deterministic = deterministic
        _mkldnn.enabled = onednn
        for part, precision in zip(_ONEDNN, precisions, strict=True):
            part.fp32_precision = precision


def settle(device: str | torch.device) -> None:
    """Put right what code of the user's, such as a model's module, may have switched since `fixed_arithmetic` began."""
    torch.set_flush_denormal(True)
    if torch.device(device).type == "cpu":
        _mkldnn.enabled = True
        for part in _ONEDNN:
            part.fp32_precision = "ieee"


def join_arithmetic() -> None:
    """Let a further thread of a process within `fixed_arithmetic` on the CPU compute as the first one does.

    How many threads a sum is split among holds for the whole process. Flushing denormals is a thread's own; Linux gives
    it to new threads, too, but promises nothing.
    """
    torch.set_flush_denormal(True)


def kernels(device: str | torch.device) -> dict[str, str]:
    """Name what chooses the kernels of this process, and so the bits of what it trains; "" for what is not set."""
    chosen = torch.device(device)
    return {
        "torch": torch.__version__,
        "machine": platform.machine(),
        "cpu": processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        **{name: os.environ.get(name, "") for name in SETTINGS},
        "device": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "cpu",
        # on the CPU `settle` says
        "cuda_matmul_precision": torch.backends.cuda.matmul.fp32_precision if chosen.type == "cuda" else "",
    }
