"""Which table a model of a ProjectState has, and whether Django would touch it at all.

States are never rendered into models: that is where Django's own commands spend their time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import connections, router
from django.db.backends.utils import truncate_name
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.utils import resolve_relation

from django_safemigrations.postgres.offline import postgres as postgres

MAX_NAME_BYTES = 63
ModelKey = tuple[str, str]


def table_name(model: ModelState) -> str:
    """Return the name of a model's table as Django's Options would compute it."""
    explicit = model.options.get("db_table")
    if explicit:
        return str(explicit)
    return truncate_name(f"{model.app_label}_{model.name_lower}", MAX_NAME_BYTES)


def is_migrated(model: ModelState) -> bool:
    """Return whether Django runs database operations for a model on PostgreSQL.

    Unmanaged, proxy and swapped models are left alone, and so are those that
    no router lets onto a PostgreSQL database.
    """
    return options_are_migrated(model.app_label, model.name, model.options)


def options_are_migrated(app_label: str, name: str, options: Mapping[str, Any]) -> bool:
    """Return the same as `is_migrated` for a model that is not in a state yet."""
    if not options.get("managed", True) or options.get("proxy"):
        return False
    swappable = options.get("swappable")
    if swappable:
        swapped = getattr(settings, swappable, None)
        if swapped and swapped.lower() != f"{app_label}.{name}".lower():
            return False
    return _routed(app_label, name.lower())


def _routed(app_label: str, model_name: str) -> bool:
    if not settings.DATABASE_ROUTERS:
        return True
    aliases = [a for a in connections if connections[a].vendor == "postgresql"]
    return not aliases or any(
        router.allow_migrate(alias, app_label, model_name=model_name) for alias in aliases
    )


def related_model(state: ProjectState, model: ModelState, field: Any) -> ModelState | None:
    """Return the concrete model that a relation points to; None if the state doesn't have it."""
    target = field.remote_field.model
    if target is None:
        return None
    key = resolve_relation(target, model.app_label, model.name_lower)
    return concrete(state, key)


def concrete(state: ProjectState, key: ModelKey) -> ModelState | None:
    """Return the model of a key, or for a proxy the model whose table it shows."""
    model = state.models.get(key)
    while model is not None and model.options.get("proxy"):
        parents = [base for base in model.bases if isinstance(base, str)]
        if not parents:
            return None
        model = state.models.get(resolve_relation(parents[0], model.app_label, model.name_lower))
    return model


def has_own_table(field: Any) -> bool:
    """Return whether a ManyToManyField keeps its rows in a table that Django makes for it."""
    return bool(field.many_to_many) and not getattr(field.remote_field, "through", None)


def many_to_many_table(model: ModelState, name: str, field: Any) -> str:
    """Return the name of the table that Django makes for a ManyToManyField."""
    if field.db_table:
        return str(field.db_table)
    return truncate_name(f"{table_name(model).strip(chr(34))}_{name}", MAX_NAME_BYTES)


def through_table(state: ProjectState, model: ModelState, field: Any) -> str | None:
    """Return the table of a ManyToManyField's own through model; None if the state has none."""
    key = resolve_relation(field.remote_field.through, model.app_label, model.name_lower)
    through = concrete(state, key)
    return None if through is None else table_name(through)


def many_to_many_to(state: ProjectState, target: ModelState) -> list[tuple[ModelState, str]]:
    """Return the ManyToManyFields with a table of their own that start at or point to a model."""
    found = []
    for model in state.models.values():
        for name, field in model.fields.items():
            if has_own_table(field) and (
                model is target or related_model(state, model, field) is target
            ):
                found.append((model, name))
    return found


def foreign_keys_to(
    state: ProjectState, target: ModelState, field_name: str | None = None
) -> list[tuple[ModelState, str]]:
    """Return the foreign keys with a constraint that point to a model, or to one field of it."""
    found = []
    for model in state.models.values():
        for name, field in model.fields.items():
            if not is_foreign_key(field) or not field.db_constraint:
                continue
            if related_model(state, model, field) is not target:
                continue
            if field_name is None or target_field_name(target, field) == field_name:
                found.append((model, name))
    return found


def is_foreign_key(field: Any) -> bool:
    """Return whether a field is a ForeignKey or OneToOneField with a column."""
    return bool(field.many_to_one or field.one_to_one) and hasattr(field, "db_constraint")


def target_field_name(target: ModelState, field: Any) -> str | None:
    """Return the name of the field that a foreign key points to."""
    explicit: str | None = field.to_fields[0] if field.to_fields else None
    if explicit:
        return explicit
    return primary_key_name(target)


def primary_key_name(model: ModelState) -> str | None:
    """Return the name of a model's primary key; None if an implicit one was never written."""
    for name, field in model.fields.items():
        if field.primary_key:
            return name
    return None
