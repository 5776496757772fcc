"""What can be said about a Django expression without a database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import F, Q


def field_names(expression: Any) -> set[str]:
    """Return the names of the model's fields that an expression or condition mentions."""
    return {name.partition("__")[0] for name in _references(expression)}


def _references(expression: Any) -> Iterator[str]:
    if isinstance(expression, Q):
        for child in expression.children:
            if isinstance(child, tuple):
                yield child[0]
                yield from _references(child[1])
            else:
                yield from _references(child)
    elif isinstance(expression, F):
        yield str(vars(expression)["name"])
    elif hasattr(expression, "get_source_expressions"):
        for source in expression.get_source_expressions():
            yield from _references(source)


def proves_not_null(condition: Any, name: str) -> bool:
    """Return whether a CHECK's condition can't hold for a row in which the field is NULL."""
    if not isinstance(condition, Q) or condition.negated:
        return False
    if condition.connector != Q.AND and len(condition.children) > 1:
        return False
    return any(
        proves_not_null(child, name)
        if isinstance(child, Q)
        else child == (f"{name}__isnull", False)
        for child in condition.children
    )
