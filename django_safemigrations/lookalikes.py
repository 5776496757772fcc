"""Whether a removed field and an added one look like a rename that Django could not see.

Django asks about a rename only if nothing else of the field changes; a rename with any other
change is a removal and an addition, and the data goes with the old column. makemigrations warns
of it and lintmigrations reports it, both by this judgement.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Any

from django.db import models

# Values of one of a row fit into a column of another, as far as a developer would try it.
FAMILIES: tuple[tuple[type[models.Field[Any, Any]], ...], ...] = (
    (models.CharField, models.TextField),
    (models.IntegerField, models.DecimalField, models.FloatField),
    (models.DateField, models.DateTimeField),
    (models.BooleanField,),
    (models.FileField,),
)


def twin(name: str, field: Any, added: Iterable[tuple[str, Any]], app_label: str) -> str | None:
    """Return the name of the added field that a removed one may have become, None if there is none.

    Args:
        name: of the removed field.
        field: the removed field.
        added: names and fields that the same model gets in the same run or file.
        app_label: of the model, for relations that are written without one.
    """
    # A field of the same name is another definition, no rename.
    alike = [
        other
        for other, new in added
        if other.lower() != name.lower() and look_alike(field, new, app_label)
    ]
    if not alike:
        return None
    return max(alike, key=lambda other: SequenceMatcher(None, name, other).ratio())


def look_alike(old: Any, new: Any, app_label: str) -> bool:
    """Return whether the values of one field could go on in the other.

    Relations look alike if they are of one kind and point to the same model; other fields if
    they are of one class, or of one family of classes.
    """
    if old.generated or new.generated:
        return False
    if old.is_relation or new.is_relation:
        return bool(
            old.is_relation
            and new.is_relation
            and bool(old.many_to_many) == bool(new.many_to_many)
            and _target(old, app_label) == _target(new, app_label)
        )
    if type(old) is type(new):
        return True
    return any(isinstance(old, family) and isinstance(new, family) for family in FAMILIES)


def _target(field: Any, app_label: str) -> str:
    to = field.remote_field.model
    label = to if isinstance(to, str) else to._meta.label
    return (label if "." in label else f"{app_label}.{label}").lower()
