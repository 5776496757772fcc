"""Compares a database with what it was, and with what plain Django would have made of it."""

from django_safemigrations.rehearsal.comparison.beginnings import against_start
from django_safemigrations.rehearsal.comparison.data import DataWatch
from django_safemigrations.rehearsal.comparison.differing import differences
from django_safemigrations.rehearsal.comparison.fingerprints import EXCLUDED, fingerprint
from django_safemigrations.rehearsal.comparison.plainly import (
    PlainSchema,
    plain_fingerprint,
)

__all__ = [
    "EXCLUDED",
    "DataWatch",
    "PlainSchema",
    "against_start",
    "differences",
    "fingerprint",
    "plain_fingerprint",
]
