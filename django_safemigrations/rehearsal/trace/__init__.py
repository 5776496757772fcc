"""What every statement of a plan did on the copy, and which hazards that makes."""

from django_safemigrations.rehearsal.trace.judging import Limits
from django_safemigrations.rehearsal.trace.looks import CantTrace
from django_safemigrations.rehearsal.trace.tracer import Tracer
from django_safemigrations.rehearsal.trace.undeclared import is_small, notes, undeclared
from django_safemigrations.rehearsal.trace.watcher import TraceLost

__all__ = ["CantTrace", "Limits", "TraceLost", "Tracer", "is_small", "notes", "undeclared"]
