"""The hazard catalogue: every code that findings, plans and rehearsals carry."""

from django_safemigrations.hazards.catalogue import CATALOGUE, UnknownHazard, get, said_nearest
from django_safemigrations.hazards.hazard import DOCS_URL, Example, Hazard, Severity, Work

__all__ = [
    "CATALOGUE",
    "DOCS_URL",
    "Example",
    "Hazard",
    "Severity",
    "UnknownHazard",
    "Work",
    "get",
    "said_nearest",
]
