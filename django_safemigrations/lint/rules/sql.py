"""The rule for RunSQL: every statement is parsed and judged like Django's own operations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.migrations import operations

from django_safemigrations.lint.context import Context, Rule
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.sql.parser import INSTALL, is_installed, shortened
from django_safemigrations.phases import Phase


def run_sql(operation: operations.RunSQL, context: Context) -> Iterator[Observation]:
    """Judge the SQL, or say that the parser is missing."""
    text = _first_words(operation.sql)
    if not text:
        return
    if not is_installed():
        yield Observation(
            "DSM405",
            f"This SQL is not inspected: {text}",
            f"Install the parser to have it judged: {INSTALL}. Or look up its locks, and say what "
            "you found: # safemigrations: ignore DSM405 -- which lock it takes, and for how long",
        )
        return
    # Imported when the first RunSQL is met: it costs time and memory that most runs don't need.
    from django_safemigrations.lint.sql.judge import judge_sql

    yield from judge_sql(operation, context, contract=context.phase is Phase.CONTRACT)


def _first_words(sql: Any) -> str:
    """Return the start of the first statement; empty if there is nothing to run."""
    if isinstance(sql, list | tuple):
        return next((text for part in sql if (text := _first_words(_statement(part)))), "")
    return shortened(str(sql))


def _statement(part: Any) -> Any:
    return part[0] if isinstance(part, list | tuple) and part else part


RULES: dict[type, Rule] = {operations.RunSQL: run_sql}
