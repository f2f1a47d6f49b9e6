"""Measurements against what people use today; see README.md."""
