"""New columns: added bare, filled without a rewrite, and what they bring is staged behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.migrations import AddField, AlterOrderWithRespectTo
from django.db.migrations.operations.base import Operation
from django.db.models import NOT_PROVIDED, BinaryField, Choices
from django.utils import timezone

from django_safemigrations.operations import (
    AddColumn,
    AddFieldCheck,
    AddFieldUnique,
    AddForeignKey,
    BackfillNulls,
    Contract,
    CreateFieldIndexesConcurrently,
    DropColumnDefault,
    Expand,
    SetNotNull,
    ValidateFieldCheck,
    ValidateForeignKey,
)
from django_safemigrations.operations.values import is_sql_value, is_volatile_value
from django_safemigrations.postgres.volatility import volatile_function
from django_safemigrations.rewrites.chain import Chain, Plain, Step
from django_safemigrations.rewrites.context import Context, Rule
from django_safemigrations.rewrites.models import column_of, has_type_check, is_generated

INSTANT = "a bare column is added in an instant"
ROW_BY_ROW = "each row gets a value of its own, which would write the whole table anew at once"
IN_PYTHON = "the default is a Python function, so rows are filled in batches"
ONE_VALUE = "no default can stand in for a unique value, so old code leaves it NULL for now"
KEEPS_DEFAULT = "old code's INSERTs do not name the new column, so it keeps a default for them"
AFTER_DEFAULT = "when no old code is left, no INSERT needs the column's default any more"
AFTER_FILL = "old code may have left the column NULL until it was gone; that is filled first"


@dataclass(frozen=True)
class Filling:
    """How rows get a value in a new column: those that are there, and those of old code.

    Attributes:
        expand: the stages that add the column and fill it.
        contract: the stages that wait until no old code is left.
        why: the reason for it, or an empty text.
        after: what the contract does.
    """

    expand: tuple[Operation, ...]
    contract: tuple[Operation, ...] = ()
    why: str = ""
    after: str = ""


def value_of(field: Any) -> Any:
    """Return what Django writes into the rows that are there: a value, a callable, or NOT_PROVIDED.

    Follows ``BaseDatabaseSchemaEditor._effective_default``.
    """
    if field.has_default():
        value = field.default
        if isinstance(value, Choices):
            value = value.value
        return NOT_PROVIDED if value is None else value
    if is_generated(field):
        return NOT_PROVIDED
    if not field.null and field.blank and field.empty_strings_allowed:
        return b"" if isinstance(field, BinaryField) else ""
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        # PostgreSQL makes a date or a time of it where the column is one.
        return timezone.now
    return NOT_PROVIDED


def fill(where: dict[str, Any], field: Any) -> Filling:
    """Return how a new column is filled.

    Args:
        where: model_name and name.
        field: the field.
    """
    if field.has_db_default():
        return _by_database(where, field)
    value = value_of(field)
    if value is NOT_PROVIDED:
        return Filling((AddColumn(**where),))
    given = {**where, "value": value}
    if is_volatile_value(value):
        if field.null:
            return Filling((AddColumn(**where), BackfillNulls(**given)), why=ROW_BY_ROW)
        return Filling(
            (AddColumn(**given, empty=True), BackfillNulls(**given), SetNotNull(**where)),
            (DropColumnDefault(**given),),
            ROW_BY_ROW,
            AFTER_DEFAULT,
        )
    if not is_sql_value(value) or field.unique:
        if field.null:
            return Filling((AddColumn(**where), BackfillNulls(**given)), why=IN_PYTHON)
        return Filling(
            (AddColumn(**where, empty=True), BackfillNulls(**given)),
            (BackfillNulls(**given), SetNotNull(**where)),
            ONE_VALUE if is_sql_value(value) else IN_PYTHON,
            AFTER_FILL,
        )
    # PostgreSQL notes one value for all rows that are there and writes none of them.
    if field.null:
        return Filling((AddColumn(**given), DropColumnDefault(**given)))
    return Filling(
        (AddColumn(**given),), (DropColumnDefault(**given),), KEEPS_DEFAULT, AFTER_DEFAULT
    )


def _by_database(where: dict[str, Any], field: Any) -> Filling:
    if not volatile_function(field.db_default):
        return Filling((AddColumn(**where),))
    filled = (AddColumn(**where, empty=True), BackfillNulls(**where))
    return Filling(filled if field.null else (*filled, SetNotNull(**where)), why=ROW_BY_ROW)


def brought_along(where: dict[str, Any], field: Any) -> list[Operation]:
    """Return the stages for what a field has besides its column.

    The index comes before the foreign key: without it, deletes in the referenced table
    would look through all rows.
    """
    found: list[Operation] = []
    if has_type_check(field, where["name"]):
        found += [AddFieldCheck(**where), ValidateFieldCheck(**where)]
    if field.unique:
        found.append(AddFieldUnique(**where))
    elif field.db_index:
        found.append(CreateFieldIndexesConcurrently(**where))
    if field.remote_field and field.db_constraint:
        found += [AddForeignKey(**where), ValidateForeignKey(**where)]
    return found


def add_field(operation: AddField, context: Context) -> list[Step]:
    """Stage an AddField of a model that may hold rows."""
    field: Any = operation.field
    where = {"model_name": operation.model_name, "name": operation.name}
    label = f"{context.app_label}.{operation.model_name}.{operation.name}"
    if field.many_to_many or column_of(field, operation.name) is None:
        # Another table, or no database work at all.
        return [Plain(operation)]
    if (reason := _why_not(operation, label)) is not None:
        return [Plain(operation, reason)]
    filling = fill(where, field)
    brought = brought_along(where, field)
    if not brought and not filling.why:
        return [Plain(operation)]
    name = operation.migration_name_fragment
    return [_chain(f"add {label}", name, operation, filling, brought, _note(field, label))]


def _chain(
    title: str,
    name: str,
    operation: Operation,
    filling: Filling,
    brought: list[Operation],
    note: str = "",
) -> Chain:
    why = [filling.why or INSTANT]
    if brought:
        why.append("what belongs to it is built and checked while reads and writes go on")
    return Chain(
        title=title,
        name=name,
        expand=(
            Expand(
                state_operations=[operation],
                database_operations=[*filling.expand, *brought],
            ),
        ),
        contract=(
            (Contract(database_operations=list(filling.contract)),) if filling.contract else ()
        ),
        why="; ".join(why),
        after=filling.after,
        note=note,
    )


def _why_not(operation: AddField, label: str) -> str | None:
    """Return why a field is added as Django does it; None if it is staged."""
    field: Any = operation.field
    if is_generated(field):
        if not field.db_persist:
            return None
        return (
            f"{label} is a stored generated column (DSM510): PostgreSQL writes every row anew "
            "while nobody can use the table. On PostgreSQL 18 make it db_persist=False; before, "
            "add a nullable column of its type and let a trigger keep it."
        )
    if field.primary_key:
        return (
            f"{label} is added as a primary key (DSM510): PostgreSQL writes every row anew while "
            "nobody can use the table, and old code fails. Keep the key that is there, and add "
            "this field as a unique one."
        )
    if not (field.null or field.has_db_default()) and value_of(field) is NOT_PROVIDED:
        return f"{label} is NOT NULL and has no default: rows that are there can't have it."
    return None


def _note(field: Any, label: str) -> str:
    value = value_of(field)
    if not field.unique or field.has_db_default() or value is NOT_PROVIDED or callable(value):
        return ""
    return (
        f"{label} is unique, and all rows that are there get one value: this fails if there are "
        "two of them. Give a callable as default (such as uuid.uuid4), or make it null=True."
    )


def set_order(operation: AlterOrderWithRespectTo, context: Context) -> list[Step]:
    """Stage the column _order that ``order_with_respect_to`` brings."""
    before = context.model(operation.name).options.get("order_with_respect_to")
    if before or not operation.order_with_respect_to:
        return [Plain(operation)]
    given: dict[str, Any] = {"model_name": operation.name, "name": "_order", "value": 0}
    filling = Filling(
        (AddColumn(**given),), (DropColumnDefault(**given),), KEEPS_DEFAULT, AFTER_DEFAULT
    )
    title = f"order {context.app_label}.{operation.name} by {operation.order_with_respect_to}"
    return [_chain(title, operation.migration_name_fragment, operation, filling, [])]


RULES: dict[type, Rule] = {AddField: add_field, AlterOrderWithRespectTo: set_order}
