"""Which column a foreign key points to, as a state has it without being rendered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.utils import resolve_relation

from django_safemigrations.postgres.offline import postgres

DEEPEST = 10
"""How many keys that are themselves foreign keys are followed; a circle ends there."""


@dataclass(frozen=True)
class Target:
    """Where a foreign key points.

    Attributes:
        model: app label and lower-case name of the model that has the table.
        field: the field's name; None if it can't be known.
        type: type and collation of the column; None if they can't be known.
    """

    model: tuple[str, str]
    field: str | None
    type: tuple[str | None, str | None] | None


def target_of(state: ProjectState, model: ModelState, field: Any) -> Target:
    """Return where a model's foreign key points."""
    return _target(state, model, field, 0)


def _target(state: ProjectState, model: ModelState, field: Any, depth: int) -> Target:
    key = resolve_relation(field.remote_field.model, model.app_label, model.name_lower)
    found = _concrete(state, key)
    if found is None:
        return _in_registry(key, field)
    key = found.app_label, found.name_lower
    name = field.to_fields[0] if field.to_fields and field.to_fields[0] else _key_of(found)
    pointed_at: Any = found.fields.get(name) if name else None
    if pointed_at is None or depth > DEEPEST:
        return Target(key, name, None)
    if pointed_at.remote_field:
        return Target(key, name, _target(state, found, pointed_at, depth + 1).type)
    return Target(key, name, _type(pointed_at))


def _type(pointed_at: Any) -> tuple[str | None, str | None]:
    kind = pointed_at.rel_db_type(connection=postgres())
    return kind, getattr(pointed_at, "db_collation", None)


def _concrete(state: ProjectState, key: tuple[str, str]) -> ModelState | None:
    """Return the model of a key, or for a proxy the model whose table it shows."""
    model = state.models.get(key)
    while model is not None and model.options.get("proxy"):
        parents = [base for base in model.bases if isinstance(base, str)]
        if not parents:
            return None
        model = state.models.get(resolve_relation(parents[0], model.app_label, model.name_lower))
    return model


def _key_of(model: ModelState) -> str | None:
    return next((name for name, field in model.fields.items() if field.primary_key), None)


def _in_registry(key: tuple[str, str], field: Any) -> Target:
    """Look a target up among the models of apps that have no migrations."""
    name = field.to_fields[0] if field.to_fields and field.to_fields[0] else None
    try:
        model = apps.get_model(*key)
    except LookupError:
        return Target(key, name, None)
    options = model._meta.concrete_model._meta if model._meta.concrete_model else model._meta
    pointed_at: Any = options.get_field(name) if name else options.pk
    if pointed_at is None:
        return Target(key, name, None)
    return Target((options.app_label, options.model_name or ""), pointed_at.name, _type(pointed_at))
