"""Lets the code before and after a plan work on the copy, at every step boundary."""

from django_safemigrations.rehearsal.generations.check import Generations
from django_safemigrations.rehearsal.generations.load import Load
from django_safemigrations.rehearsal.generations.pairs import independent

__all__ = ["Generations", "Load", "independent"]
