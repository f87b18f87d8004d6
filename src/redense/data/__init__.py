"""Data sets: what they are (dataset), where they come from (named, files, load) and how they reach a model (batches)."""
