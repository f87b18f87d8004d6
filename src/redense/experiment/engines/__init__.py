"""Engines carry out a plan: the same job code (execute), in the same order (schedule), in this process or several."""
