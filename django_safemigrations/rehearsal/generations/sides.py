"""One generation of the code: its models as the migrations know them, and its other generation."""

from __future__ import annotations

from typing import Any, TypeAlias

from django.apps.registry import Apps
from django.db import models

from django_safemigrations.rehearsal.generations.pairs import Key, Pairs

AnyField: TypeAlias = "models.Field[Any, Any]"
AnyModel: TypeAlias = type[models.Model]


class Side:
    """Old or new code.

    Args:
        name: "old" or "new".
        apps: its models, rendered.
        pairs: what they are called on the other side.

    Attributes:
        other: the other side; set by `sides`.
    """

    other: Side

    def __init__(self, name: str, apps: Apps, pairs: Pairs) -> None:
        self.name = name
        self.apps = apps
        self.pairs = pairs

    def models(self) -> list[AnyModel]:
        """Return the models that have a table of their own which migrations keep."""
        return [
            model
            for model in self.apps.get_models()
            if model._meta.managed and not model._meta.proxy and not model._meta.swapped
        ]

    def partner(self, model: AnyModel) -> AnyModel | None:
        """Return what the other side calls a model, None if it has none."""
        key = self.pairs.models.get(key_of(model))
        if key is None:
            return None
        try:
            return self.other.apps.get_model(*key)
        except LookupError:
            return None

    def partner_field(self, field: AnyField) -> AnyField | None:
        """Return what the other side calls a field, None if it has none."""
        owner = field.model
        other = self.partner(owner)
        if other is None:
            return None
        name = self.pairs.fields.get(key_of(owner), {}).get(field.name)
        if name is None and field.primary_key and field.auto_created:
            # The key that Django gives a model without one stands in no state.
            name = field.name
        if name is None:
            return None
        found: Any = next((f for f in other._meta.get_fields() if f.name == name), None)
        return found if isinstance(found, models.Field) else None


def sides(old: Apps, new: Apps, pairs: Pairs) -> tuple[Side, Side]:
    """Return both generations, each with the other."""
    first, second = Side("old", old, pairs), Side("new", new, pairs.reversed())
    first.other, second.other = second, first
    return first, second


def key_of(model: AnyModel) -> Key:
    """Return a model's key in a state."""
    return model._meta.app_label, model._meta.model_name or ""


def writable(model: AnyModel) -> list[AnyField]:
    """Return the columns that code gives values to: no serial key, generated or auto_now one."""
    return [
        field
        for field in model._meta.concrete_fields
        if not isinstance(field, models.AutoField | models.BigAutoField | models.SmallAutoField)
        and not getattr(field, "generated", False)
        and not getattr(field, "auto_now", False)
        and not getattr(field, "auto_now_add", False)
        and not (field.is_relation and getattr(field.remote_field, "parent_link", False))
    ]


def changeable(model: AnyModel) -> list[AnyField]:
    """Return the writable columns that are no part of the primary key."""
    keys = model._meta.pk_fields
    return [field for field in writable(model) if not field.primary_key and field not in keys]


def unique_sets(model: AnyModel, *, nameable: bool = False) -> list[tuple[str, ...]]:
    """Return the field names of every unique constraint, the primary key's left out.

    Args:
        model: whose.
        nameable: only those that ON CONFLICT can name: neither partial nor deferrable.
    """
    options = model._meta
    single = [f for f in options.concrete_fields if f.unique and not f.primary_key]
    found: list[tuple[str, ...]] = [(f.name,) for f in single]
    found += [tuple(names) for names in options.unique_together]
    for constraint in options.constraints:
        if isinstance(constraint, models.UniqueConstraint) and constraint.fields:
            plain = constraint.condition is None and constraint.deferrable is None
            if plain or not nameable:
                found.append(tuple(constraint.fields))
    return list(dict.fromkeys(found))


def upsert_keys(model: AnyModel) -> list[tuple[str, ...]]:
    """Return the unique keys that ON CONFLICT can name, besides the primary key."""
    found = unique_sets(model, nameable=True)
    # A new row for a key that contains another one would break on the other one.
    return [key for key in found if not any(set(other) < set(key) for other in found)]


def unique_fields(model: AnyModel) -> set[str]:
    """Return the names of the fields that any unique constraint is over."""
    names = {name for key in unique_sets(model) for name in key}
    for constraint in model._meta.constraints:
        if isinstance(constraint, models.UniqueConstraint):
            for expression in constraint.expressions:
                flat = getattr(expression, "flatten", lambda: ())()
                names |= {str(f.name) for f in flat if isinstance(f, models.F)}  # type: ignore[attr-defined]
    return names
