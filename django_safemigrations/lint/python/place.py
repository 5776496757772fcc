"""Where a function runs, and how what was seen in it becomes an observation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.python.events import Event
from django_safemigrations.lint.python.facts import Facts
from django_safemigrations.lint.python.values import Model


@dataclass(frozen=True)
class Place:
    """Where a function runs.

    Attributes:
        app_label: of the migration.
        one_transaction: whether all of the function runs in one.
        why_one: what makes it so, for a message.
        facts: of the models.
        table: the name of a model's table; empty if it isn't known.
        databases: on how many databases the migration may run.
    """

    app_label: str
    one_transaction: bool
    why_one: str
    facts: Facts
    table: Callable[[Model], str]
    databases: int = 1

    def called(self, model: Model | None) -> str:
        """Return what a message calls the table of a model."""
        if model is None:
            return "the table"
        return self.table(model) or (f"the table of {model.shown}" if model.name else "a table")

    def in_use(self, model: Model | None) -> bool:
        """Return whether requests may be using the rows of a model, and many of them."""
        return model is None or not self.facts.is_small(model)


def seen(code: str, event: Event, place: Place, message: str, hint: str) -> Observation:
    """Return an observation at the line of an event."""
    where = f" ({event.where})" if event.where else ""
    return Observation(
        code,
        message + where,
        hint,
        line=event.line or None,
        table=place.table(event.model) if event.model is not None else "",
    )
