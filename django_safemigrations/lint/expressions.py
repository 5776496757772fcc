"""What can be said about a Django expression without a database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import F, Func, Q
from django.db.models.expressions import RawSQL

VOLATILE = frozenset(
    {
        "random",
        "gen_random_uuid",
        "uuidv4",
        "uuidv7",
        "uuid_generate_v1",
        "uuid_generate_v1mc",
        "uuid_generate_v4",
        "clock_timestamp",
        "timeofday",
        "nextval",
        "gen_random_bytes",
        "txid_current",
    }
)
STABLE = frozenset(
    {
        "now",
        "statement_timestamp",
        "transaction_timestamp",
        "current_timestamp",
        "current_date",
        "localtimestamp",
        "lower",
        "upper",
        "coalesce",
        "concat",
        "md5",
        "to_jsonb",
        "jsonb_build_object",
        "jsonb_build_array",
        "array",
        "make_interval",
        "date_trunc",
    }
)


def volatile_function(expression: Any) -> str | None:
    """Return what makes PostgreSQL compute a default for each row, or None if nothing does.

    A function that is not known to be immutable or stable counts as volatile.
    """
    if not hasattr(expression, "flatten"):
        return None
    for node in expression.flatten():
        if isinstance(node, RawSQL):
            return "raw SQL"
        if isinstance(node, Func):
            names = _function_names(node)
            if called := names & VOLATILE:
                return f"{min(called)}()"
            shipped = type(node) is not Func and type(node).__module__.startswith("django.")
            if not shipped and not names & STABLE:
                return f"{type(node).__name__} ({', '.join(sorted(names))})"
    return None


def _function_names(node: Func) -> set[str]:
    """Return what PostgreSQL may see as the function's name, in lower case."""
    template = str(node.extra.get("template") or node.template)
    named = {
        str(node.extra.get("function") or node.function or ""),
        template.partition("(")[0].strip(),
    }
    return {name.lower() for name in named if name and not name.startswith("%")}


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
