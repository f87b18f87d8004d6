"""Which weights to prune (select, threshold, masks) and how to keep them at zero (enforce)."""
