"""What a rule may look at: the state before an operation, and what else the run changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from django_safemigrations.conf import Settings
from django_safemigrations.rewrites.chain import Step
from django_safemigrations.rewrites.models import find_model, has_own_table


@dataclass
class Context:
    """The place of an operation among those of its migration.

    Attributes:
        app_label: the app they belong to.
        operations: all of them, in Django's order.
        state: the state before the operation at hand; rules leave it as it is.
        settings: the settings in force.
        created: models created in this run, by app label and lower-case name.
        position: where the operation at hand stands in `operations`.
        taken: operations that became a part of an earlier step.
        deletions: what is taken off a model before it is deleted, by the id of the deletion.
        gone: fields that left the state before their model is deleted, by model and name.
    """

    app_label: str
    operations: Sequence[Operation]
    state: ProjectState
    settings: Settings
    created: set[tuple[str, str]]
    position: int = 0
    taken: set[int] = field(default_factory=set)
    deletions: dict[int, list[Operation]] = field(default_factory=dict)
    gone: dict[tuple[str, str], Any] = field(default_factory=dict)

    @property
    def later(self) -> Sequence[Operation]:
        """The operations after the one at hand."""
        return self.operations[self.position + 1 :]

    def model(self, name: str) -> ModelState:
        """Return the state of a model of this app that is known to be there."""
        found = find_model(self.state, self.app_label, name)
        assert found is not None, name
        return found

    def may_hold_rows(self, name: str) -> bool:
        """Whether a model of this app has a table that was there before this run."""
        key = (self.app_label, name.lower())
        model = find_model(self.state, *key)
        return key not in self.created and model is not None and has_own_table(model)

    def take(self, operations: Iterable[Operation]) -> None:
        """Leave out later operations: they are part of the step that is being made."""
        self.taken |= {id(operation) for operation in operations}


Rule = Callable[[Any, Context], list[Step]]
"""Returns the steps that an operation becomes."""
