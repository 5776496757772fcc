"""What is done with the rows of a batch, as users say it: what all kinds of changes have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q, QuerySet

from django_safemigrations.backfill.rows import RowWork
from django_safemigrations.backfill.statements import BatchStatement, StatementWork
from django_safemigrations.operations.base import PUBLIC_MODULE
from django_safemigrations.postgres.catalog import Table

Where = Q | Callable[[Any], Q | QuerySet[Any]] | None


class Change(Protocol):
    """What is done with the rows of a batch."""

    def work(
        self, connection: BaseDatabaseWrapper, apps: Any, model: Any, find: Callable[[Any], Table]
    ) -> StatementWork | RowWork:
        """Return it as the engine runs it; `find` returns a model's table."""

    def statement(
        self, connection: BaseDatabaseWrapper, apps: Any, model: Any
    ) -> BatchStatement | str:
        """Return the statement of a batch, or what is to be said of it where it is Python."""

    def describe(self, model_name: str) -> str:
        """Say what it does."""

    @property
    def fragment(self) -> str:
        """A part of the file's name."""

    @property
    def names(self) -> Iterable[str]:
        """The fields that it writes and that its condition reads, as far as they are known."""


def resolved(where: Any, apps: Any) -> Any:
    return where(apps) if callable(where) and not isinstance(where, Q | QuerySet) else where


def fields_read(where: Any) -> set[str]:
    """Return the fields that a condition names."""
    if not isinstance(where, Q):
        return set()
    found: set[str] = set()
    for child in where.children:
        if isinstance(child, tuple):
            found.add(str(child[0]).split("__")[0])
        else:
            found |= fields_read(child)
    return found


class StatementChange:
    """What the changes have in common that are one statement a batch."""

    until_none_left: bool = False
    volatile: bool = True

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return how it is written into a file, without what is not set."""
        kwargs = {}
        for parameter in inspect.signature(type(self)).parameters.values():
            value = getattr(self, parameter.name)
            if parameter.default is parameter.empty or value != parameter.default:
                kwargs[parameter.name] = value
        return f"{PUBLIC_MODULE}.{type(self).__qualname__}", [], kwargs

    def compiled(
        self, connection: BaseDatabaseWrapper, apps: Any, model: Any
    ) -> tuple[Any, BatchStatement]:
        """Return the model whose table is walked, and the statement."""
        raise NotImplementedError

    def columns(self, model: Any) -> tuple[str, ...]:
        """Return the columns that are written in the table that is walked."""
        return ()

    def describe(self, model_name: str) -> str:
        """Say what it does."""
        raise NotImplementedError

    def work(
        self, connection: BaseDatabaseWrapper, apps: Any, model: Any, find: Callable[[Any], Table]
    ) -> StatementWork | RowWork:
        """Return it as the engine runs it."""
        owner, statement = self.compiled(connection, apps, model)
        table = find(owner)
        title = f"{table.qualified}: {lowered(self.describe(model._meta.object_name))}"
        return StatementWork(
            table, statement, title, self.columns(owner), self.until_none_left, self.volatile
        )

    def statement(
        self, connection: BaseDatabaseWrapper, apps: Any, model: Any
    ) -> BatchStatement | str:
        """Return the statement of a batch."""
        return self.compiled(connection, apps, model)[1]


def refuse_endless(where: object, until_none_left: bool) -> None:
    if until_none_left and where is None:
        raise ValueError(
            "until_none_left=True means that a changed row no longer meets `where`, and there is "
            "no `where`: every row would be changed over and over. Give a condition."
        )


def lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
