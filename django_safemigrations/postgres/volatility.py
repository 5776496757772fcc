"""Which of Django's expressions PostgreSQL computes anew for each row.

A column with a constant or stable default is added in an instant; a volatile one makes
PostgreSQL write every row.
https://www.postgresql.org/docs/current/xfunc-volatility.html
"""

from __future__ import annotations

from typing import Any

from django.db.models import Func
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
