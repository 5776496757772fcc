"""What is left of a field when its relation and its Python are taken away: the column."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import NOT_PROVIDED

AUTOMATIC = (
    (models.BigAutoField, models.BigIntegerField),
    (models.SmallAutoField, models.SmallIntegerField),
    (models.AutoField, models.IntegerField),
)


def bare_field(field: Any, *, keep_default: bool) -> Any:
    """Return a field for the same column that no other model has a part in.

    Args:
        field: the field; a foreign key must belong to a rendered model.
        keep_default: whether rows may still need its ``default``.
    """
    if field.remote_field is None:
        return _stripped(field, keep_default=keep_default)
    target = field.target_field
    while target.remote_field is not None:
        target = target.target_field
    bare = _referring(target)
    bare.db_column = field.column
    bare.null = field.null
    bare.primary_key = field.primary_key
    bare._unique = field._unique
    bare.db_index = bool(field.db_index) and not field.unique
    bare.db_comment = field.db_comment
    bare._db_tablespace = field._db_tablespace or None
    bare.db_default = field.db_default
    return bare


def _referring(target: Any) -> Any:
    """Return a field of the type of a column that refers to another."""
    for automatic, kind in AUTOMATIC:
        if isinstance(target, automatic):
            return kind()
    plain = getattr(target, "integer_field_class", None)
    if plain is not None:
        # A foreign key to a PositiveIntegerField has no CHECK of its own.
        return plain()
    bare = _stripped(target, keep_default=False)
    bare.db_default = NOT_PROVIDED
    bare._db_tablespace = None
    bare.serialize = True
    return bare


def _stripped(field: Any, *, keep_default: bool) -> Any:
    """Return a copy without what never reaches the database."""
    _, _, args, kwargs = field.deconstruct()
    unneeded = {*field.non_db_attrs, "auto_created", "serialize"} - {"db_column"}
    if not keep_default:
        unneeded.add("default")
    kept = {name: value for name, value in kwargs.items() if name not in unneeded}
    try:
        return field.__class__(*args, **kept)
    except TypeError:
        # A field of somebody else's that can't do without.
        return field.clone()
