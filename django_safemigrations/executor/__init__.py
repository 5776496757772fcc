"""Runs schedules, forwards and back, with every lock wait bounded."""

from django_safemigrations.executor.outcomes import Failure, Left, Undo
from django_safemigrations.executor.phased import PhasedExecutor

__all__ = ["Failure", "Left", "PhasedExecutor", "Undo"]
