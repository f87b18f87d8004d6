"""A template that uses every shared part of pages."""
