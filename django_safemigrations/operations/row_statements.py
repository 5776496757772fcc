"""Changes of rows that are one statement a batch: updates, deletes, inserts, and SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import NOT_PROVIDED, Q, QuerySet

from django_safemigrations.backfill import queries
from django_safemigrations.backfill.statements import BatchStatement
from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.operations.base import public
from django_safemigrations.operations.row_changes import (
    StatementChange,
    Where,
    fields_read,
    refuse_endless,
    resolved,
)
from django_safemigrations.operations.values import CALLABLES, is_sql_value
from django_safemigrations.postgres.volatility import volatile_function

TEXTS = ("CharField", "TextField", "SlugField", "FileField", "FilePathField")


@public
class UpdateRows(StatementChange):
    """Set fields of a model's rows, by one UPDATE a batch.

    Args:
        values: the new values by field: constants and expressions, as `QuerySet.update` takes
            them. Or a function of the historical apps that returns such a dict.
        where: which rows: a Q, or a function of the historical apps that returns a Q or a
            queryset of the model; without it, all rows.
        until_none_left: whether a row that was changed no longer meets `where`. Then passes
            are repeated until no row meets it, and the end is proven by counting.
    """

    def __init__(
        self,
        values: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]],
        where: Where = None,
        until_none_left: bool = False,
    ) -> None:
        self.values = values
        self.where = where
        self.until_none_left = until_none_left
        if not callable(values):
            if not values:
                raise ValueError("UpdateRows has no values: there is nothing to write.")
            self.volatile = any(volatile_function(value) for value in values.values())
        refuse_endless(where, until_none_left)

    def _values(self, apps: Any) -> Mapping[str, Any]:
        return self.values(apps) if callable(self.values) else self.values

    def compiled(
        self, connection: BaseDatabaseWrapper, apps: Any, model: Any
    ) -> tuple[Any, BatchStatement]:
        """Return the UPDATE."""
        where = resolved(self.where, apps)
        return queries.update_statement(connection, model, self._values(apps), where)

    def columns(self, model: Any) -> tuple[str, ...]:
        """Return the columns that are set."""
        names = self._values(model._meta.apps)
        return tuple(model._meta.get_field(name).column for name in names)

    def describe(self, model_name: str) -> str:
        """Say what it does."""
        if callable(self.values):
            return f"Update rows of {model_name} in batches ({self.values.__name__})"
        return f"Update {', '.join(self.values)} of {model_name} in batches"

    @property
    def fragment(self) -> str:
        """A part of the file's name."""
        named = "_".join(self.values) if not callable(self.values) else self.values.__name__
        return f"update_{named}".lower()

    @property
    def names(self) -> Iterable[str]:
        """The fields that it names."""
        named = set() if callable(self.values) else set(self.values)
        return named | fields_read(self.where)


@public
class DeleteRows(StatementChange):
    """Delete rows of a model, by one DELETE a batch.

    PostgreSQL deletes: no signals, and no cascades but those that the database has.

    Args:
        where: which rows: a Q, or a function of the historical apps that returns a Q or a
            queryset of the model.
        until_none_left: whether to go on until no row meets `where`, also of those that come
            meanwhile.
    """

    volatile = False

    def __init__(
        self, where: Q | Callable[[Any], Q | QuerySet[Any]], until_none_left: bool = False
    ) -> None:
        self.where = where
        self.until_none_left = until_none_left

    def compiled(
        self, connection: BaseDatabaseWrapper, apps: Any, model: Any
    ) -> tuple[Any, BatchStatement]:
        """Return the DELETE."""
        return queries.delete_statement(connection, model, resolved(self.where, apps))

    def describe(self, model_name: str) -> str:
        """Say what it does."""
        return f"Delete rows of {model_name} in batches"

    @property
    def fragment(self) -> str:
        """A part of the file's name."""
        return "delete_rows"

    @property
    def names(self) -> Iterable[str]:
        """The fields that it names."""
        return fields_read(self.where)


@public
class InsertRows(StatementChange):
    """Make rows of another model from a model's rows, by one INSERT … SELECT a batch.

    A row that breaks a unique constraint of the target is taken as made already, and left out.

    Args:
        into: the model whose rows are made, as "app_label.Model" or the name of one in the
            same app.
        values: what the new rows have, by the target's fields: constants, and expressions of
            the fields of the model that is walked. Fields that are not named get their
            default. Or a function of the historical apps that returns such a dict.
        where: which rows to make them from, as in `UpdateRows`.
    """

    volatile = False

    def __init__(
        self,
        into: str,
        values: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]],
        where: Where = None,
    ) -> None:
        self.into = into
        self.values = values
        self.where = where

    def compiled(
        self, connection: BaseDatabaseWrapper, apps: Any, model: Any
    ) -> tuple[Any, BatchStatement]:
        """Return the INSERT … SELECT."""
        label, _, name = self.into.rpartition(".")
        target = apps.get_model(label or model._meta.app_label, name)
        values = dict(self.values(apps) if callable(self.values) else self.values)
        for field in target._meta.local_concrete_fields:
            if field.name not in values and (value := _default(field)) is not NOT_PROVIDED:
                values[field.name] = value
        where = resolved(self.where, apps)
        return queries.insert_statement(connection, model, target, values, where)

    def describe(self, model_name: str) -> str:
        """Say what it does."""
        return f"Insert rows of {self.into} from those of {model_name} in batches"

    @property
    def fragment(self) -> str:
        """A part of the file's name."""
        return f"insert_{self.into.rpartition('.')[2]}".lower()

    @property
    def names(self) -> Iterable[str]:
        """The fields that it names."""
        return fields_read(self.where)


def _default(field: Any) -> Any:
    """Return what a field that is not named gets; NOT_PROVIDED if the database knows.

    Raises:
        UnsupportedChange: only Python knows, and would give all rows the same.
    """
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return queries.Sql("pg_catalog.statement_timestamp()", ())
    if field.has_db_default() or field.generated:
        return NOT_PROVIDED
    if not field.has_default():
        if field.primary_key:
            return NOT_PROVIDED
        # Text that is not given is "" in Django, and NULL or an error in the database.
        texts = not field.null and field.get_internal_type() in TEXTS
        return "" if texts else NOT_PROVIDED
    if not callable(field.default):
        return field.default
    if is_sql_value(field.default):
        sql = CALLABLES[field.default]
        return queries.Sql(sql, ()) if sql else field.get_default()
    raise UnsupportedChange(
        f"The default of {field.model._meta.label}.{field.name} is {field.default!r}, which only "
        "Python can call, and which would give all rows of a batch the same value. Name the field "
        "in the values of InsertRows."
    )


@public
class BatchSQL(StatementChange):
    """Run a statement for each batch, in which ``{batch}`` stands for the condition on its rows.

    Args:
        sql: the statement. ``{batch}`` means the rows of the walked table under its own name,
            ``{batch:o}`` under the alias o; ``{table}`` is the table, or the partition that is
            walked. Nothing else in braces is touched.
        params: values for ``%s`` in it; without them a percent sign is a percent sign.
        where: SQL that is true for rows that still need it, with bare column names. Then
            passes are repeated until no row meets it, and the end is proven by counting.
    """

    def __init__(self, sql: str, params: Sequence[Any] | None = None, where: str = "") -> None:
        self.sql = sql
        self.params = params
        self.where = where
        self.until_none_left = bool(where)
        if not queries.names_batch(sql):
            raise ValueError(
                "The SQL of BatchSQL has no {batch}, so every batch would change the whole table. "
                "Put {batch} into its WHERE: UPDATE shop_order SET … WHERE {batch} AND …; where "
                "the table has an alias o, {batch:o}."
            )

    def compiled(
        self, connection: BaseDatabaseWrapper, apps: Any, model: Any
    ) -> tuple[Any, BatchStatement]:
        """Return the statement."""
        own = connection.ops.quote_name(model._meta.db_table).rpartition(".")[2]
        parts = queries.template(connection, self.sql.strip().rstrip(";"), self.params, own)
        return model._meta.concrete_model, BatchStatement(parts, self.where or "true")

    def plain_sql(self, table: str) -> str:
        """Return the statement as it would be for the whole of a table."""
        return queries.plain(self.sql, table)

    def describe(self, model_name: str) -> str:
        """Say what it does."""
        words = " ".join(self.sql.split())
        return f"Run on {model_name} in batches: {words[:60]}{'…' if len(words) > 60 else ''}"

    @property
    def fragment(self) -> str:
        """A part of the file's name."""
        return "sql"

    @property
    def names(self) -> Iterable[str]:
        """None that are known: the SQL is read."""
        return ()
