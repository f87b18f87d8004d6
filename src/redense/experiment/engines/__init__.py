"""Engines carry out a plan: the same training of a phase, in the same order, in this process or several."""
