"""Which tables a model has, by a state alone: its own and those of ManyToManyFields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.backends.utils import strip_quotes, truncate_name
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.utils import resolve_relation

from django_safemigrations.postgres.names import LONGEST
from django_safemigrations.rewrites.models import column_of, has_own_table

ModelKey = tuple[str, str]


@dataclass(frozen=True)
class ManyToManyTable:
    """The table that Django makes for a ManyToManyField.

    Attributes:
        owner: the model that has the field.
        target: the model that it points to.
        name: the field.
        table: the table.
        ends: the two foreign keys' names.
    """

    owner: ModelKey
    target: ModelKey
    name: str
    table: str
    ends: tuple[str, str]

    @property
    def field(self) -> tuple[ModelKey, str]:
        """The field, by model and name."""
        return self.owner, self.name

    @property
    def columns(self) -> list[str]:
        """Its columns."""
        return ["id", *(f"{end}_id" for end in self.ends)]


def table_of(model: ModelState) -> str:
    """Return a model's table, as Django's Options compute it."""
    explicit = model.options.get("db_table")
    if explicit:
        return str(explicit)
    return str(truncate_name(f"{model.app_label}_{model.name_lower}", LONGEST))


def columns_of(model: ModelState) -> list[str]:
    """Return the columns of a model's own table."""
    found = (column_of(field, name) for name, field in model.fields.items())
    return [column for column in found if column is not None]


def many_to_many_tables(state: ProjectState) -> Iterator[ManyToManyTable]:
    """Yield the tables of all ManyToManyFields of a state that Django manages."""
    for key, model in state.models.items():
        if not has_own_table(model):
            continue
        for name, field in model.fields.items():
            if field.many_to_many and not getattr(field.remote_field, "through", None):
                yield _table_of_field(key, model, name, field)


def _table_of_field(key: ModelKey, model: ModelState, name: str, field: Any) -> ManyToManyTable:
    table = field.db_table or truncate_name(f"{strip_quotes(table_of(model))}_{name}", LONGEST)
    target = resolve_relation(field.remote_field.model, *key)
    own, other = model.name_lower, target[1]
    ends = (f"from_{own}", f"to_{other}") if own == other else (own, other)
    return ManyToManyTable(key, target, name, str(table), ends)
