"""Copies of a database to try a plan on: made, filled, and dropped again."""

from django_safemigrations.rehearsal.copies.opening import OpenCopy, clean_up_crashed, open_copy

__all__ = ["OpenCopy", "clean_up_crashed", "open_copy"]
