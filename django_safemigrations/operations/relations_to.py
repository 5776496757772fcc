"""The foreign keys that hold a field's values, found through the models of a state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def relations_to(field: Any) -> Iterator[Any]:
    """Yield each relation's field that stores values of `field`, also through another key.

    A one-to-one that is a primary key hands the values on to what refers to it.

    Args:
        field: a field of a model of one state.
    """
    seen: set[tuple[str, str]] = set()
    yield from _relations(field, seen)


def _relations(field: Any, seen: set[tuple[str, str]]) -> Iterator[Any]:
    for relation in field.model._meta.get_fields(include_parents=False, include_hidden=True):
        if not relation.auto_created or relation.concrete or relation.many_to_many:
            continue
        related = relation.field
        # Relations over several columns store nothing of their own.
        if getattr(related, "column", None) is None or related.target_field != field:
            continue
        at = (related.model._meta.label_lower, related.name)
        if at in seen:
            continue
        seen.add(at)
        yield related
        yield from _relations(related, seen)
