"""The arithmetic that keys name: what makes results the same on every run."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator

import torch

from redense.experiment.machine import processor

SETTINGS = ("ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR")
"""Variables of the environment that choose other kernels, and so other bits."""


@contextlib.contextmanager
def fixed_arithmetic(device: str, threads: int = 1) -> Iterator[None]:
    """Run the body with the arithmetic that keys name: on the CPU one thread, float32 as it is, oneDNN's kernels, and
    denormals flushed to zero, whatever this process has been told before.

    Sums depend on how they are split among threads; with one, bits depend neither on the machine's load nor on
    the number of workers; only where no bits are promised may there be more `threads`. Moments of weights that no
    longer get a gradient decay into denormals, a ninth of all after three epochs of the published network, and
    processors are slow at those. On CUDA: deterministic kernels.
    """
    former_threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    onednn: bool = torch.backends.mkldnn.enabled  # type: ignore[assignment]
    deterministic = torch.backends.cudnn.deterministic
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.backends.cudnn.deterministic = device != "cpu"
    if device == "cpu":
        torch.set_float32_matmul_precision("highest")
        _switch_onednn(True)
    try:
        yield
    finally:
        torch.set_num_threads(former_threads)
        torch.set_flush_denormal(False)
        torch.backends.cudnn.deterministic = deterministic
        torch.set_float32_matmul_precision(precision)
        _switch_onednn(onednn)


def _switch_onednn(on: bool) -> None:
    torch.backends.mkldnn.enabled = on  # type: ignore[assignment]  # whose descriptor PyTorch does not annotate


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
        # on the CPU `fixed_arithmetic` says
        "float32_matmul_precision": torch.get_float32_matmul_precision() if chosen.type == "cuda" else "",
    }
