"""What Django sends to PostgreSQL for a RunSQL, string by string."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql as psycopg_sql

from django_safemigrations.lint.sql.parser import Statement, SyntaxProblem, parse


@dataclass(frozen=True)
class Sent:
    """One string that the server gets in one message.

    Attributes:
        statements: in it, or why one can't be parsed.
        problem: why Django itself would refuse it before it is sent, or None.
    """

    statements: tuple[Statement | SyntaxProblem, ...]
    problem: str | None = None

    @property
    def is_script(self) -> bool:
        """Whether several statements share the string, and so one transaction."""
        return len(self.statements) > 1


def sent_strings(sql: Any) -> list[Sent]:
    """Return what ``RunSQL(sql)`` sends.

    Follows ``RunSQL._run_sql``: a string goes to the server whole, a list one by one, and
    where parameters are given percent signs stand for them.
    """
    if not isinstance(sql, list | tuple):
        return [_sent(str(sql))] if str(sql).strip() else []
    found = []
    for part in sql:
        if not isinstance(part, list | tuple):
            found.append(_sent(str(part)))
        elif len(part) != 2:
            told = f"Django expects a statement and its parameters, and finds {len(part)} values"
            found.append(Sent((), told))
        else:
            found.append(_with_parameters(str(part[0]), part[1]))
    return [sent for sent in found if sent.statements or sent.problem]


def _with_parameters(text: str, parameters: Any) -> Sent:
    if parameters is None:
        return _sent(text)
    try:
        return _sent(filled_in(text, parameters))
    except (IndexError, KeyError, ValueError, TypeError) as error:
        return Sent((), f"its placeholders don't fit its parameters: {error}")


def filled_in(text: str, parameters: Any) -> str:
    """Put parameters where psycopg would put them.

    Raises:
        IndexError, KeyError, ValueError, TypeError: placeholders and parameters don't fit.
    """
    return "".join(_filled_in(text, parameters))


def _filled_in(text: str, parameters: Any) -> Iterator[str]:
    given = iter(parameters) if isinstance(parameters, Sequence) else None
    used = 0
    before, *rest = text.split("%")
    yield before
    at = 0
    while at < len(rest):
        part = rest[at]
        at += 1
        if part == "" and at < len(rest):
            # Two percent signs are one.
            yield f"%{rest[at]}"
            at += 1
        elif part[:1] in ("s", "b", "t"):
            if given is None:
                raise TypeError("%s asks for a list of parameters")
            value = next(given, _MISSING)
            if value is _MISSING:
                raise IndexError(f"{used} parameters, and more placeholders")
            used += 1
            yield literal(value) + part[1:]
        elif part.startswith("("):
            name, closing, after = part[1:].partition(")")
            if not closing or after[:1] not in ("s", "b", "t"):
                raise ValueError(f"incomplete placeholder %{part[:10]}")
            yield literal(parameters[name]) + after[1:]
        else:
            raise ValueError(f"a percent sign that is no placeholder: %{part[:1]} (write %%)")
    if given is not None and next(given, _MISSING) is not _MISSING:
        raise IndexError(f"{used} placeholders, and more parameters")


_MISSING = object()


def literal(value: Any) -> str:
    """Return a parameter as it is written into SQL; NULL for one that can't be."""
    try:
        return psycopg_sql.Literal(value).as_string(None)
    except Exception:  # noqa: BLE001 - adapters of other packages run code of their own
        return "NULL"


def _sent(text: str) -> Sent:
    return Sent(tuple(parse(text)))
