"""Data sets: what they are (dataset), where they come from (named, files, load), how they reach a model (batches)."""
