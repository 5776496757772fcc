"""Functions of data migrations as real projects write them, each with the codes that it deserves."""

from __future__ import annotations

from tests.lint.python_functions import batches, bounded, classes, loops, outside, schema
from tests.lint.python_functions.case import MODELS, Case

CASES: tuple[Case, ...] = (
    *bounded.CASES,
    *loops.CASES,
    *batches.CASES,
    *classes.CASES,
    *outside.CASES,
    *schema.CASES,
)

__all__ = ["CASES", "MODELS", "Case"]
