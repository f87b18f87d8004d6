"""The one way in and the one way out for files that redense writes."""
