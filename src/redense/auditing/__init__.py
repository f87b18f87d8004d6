"""Audits: signals in, attacks made, figures with intervals and a verdict out."""
