"""Runs a plan on a copy and judges what was seen."""
