"""Turns Django's operations into chains of staged ones; pure: operations and states in, steps out."""

from django_safemigrations.rewrites.chain import Chain, Plain, Step
from django_safemigrations.rewrites.endings import own_copy, refuse_another_end
from django_safemigrations.rewrites.rules import rewrite

__all__ = ["Chain", "Plain", "Step", "own_copy", "refuse_another_end", "rewrite"]
