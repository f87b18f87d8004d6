"""The shipper's wing: what a model gives away about its training data."""
