"""Reads the functions of RunPython by their source, and executes nothing of them."""

from django_safemigrations.lint.python.events import Event, Kind, Reading
from django_safemigrations.lint.python.reading import read
from django_safemigrations.lint.python.sources import Unreadable

__all__ = ["Event", "Kind", "Reading", "Unreadable", "read"]
