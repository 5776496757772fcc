"""What rules of your own are written with; these names and their arguments stay as they are."""

from django_safemigrations.hazards import Hazard, Severity, Work
from django_safemigrations.lint.columns import Column
from django_safemigrations.lint.custom import (
    CustomRule,
    RuleContext,
    Table,
    lint_rule,
    own_hazard,
)
from django_safemigrations.lint.finding import Observation

__all__ = [
    "Column",
    "CustomRule",
    "Hazard",
    "Observation",
    "RuleContext",
    "Severity",
    "Table",
    "Work",
    "lint_rule",
    "own_hazard",
]
