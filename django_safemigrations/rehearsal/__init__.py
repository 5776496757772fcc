"""Tries a plan on a copy of the data, and keeps what was seen."""
