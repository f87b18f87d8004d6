"""Dense -> Sparse -> Dense around anybody's model, optimizer and loop."""

from redense.dsd.dsd import DSD as DSD
