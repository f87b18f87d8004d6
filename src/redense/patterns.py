"""Which weights are pruned together, for ``DSD(..., pattern=...)``."""

from redense.sparsity.patterns import Block, NofM, OutputChannels, Pattern

__all__ = ["Block", "NofM", "OutputChannels", "Pattern"]
