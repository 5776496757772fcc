"""Columns that change their type, collation or name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.migrations import AlterField
from django.db.migrations.state import ModelState
from django.db.models import CheckConstraint, UniqueConstraint

from django_safemigrations.operations import (
    AddFieldCheck,
    AddForeignKey,
    AddShadowColumn,
    BackfillShadowColumn,
    Contract,
    CopyShadowConstraints,
    CopyShadowIndexes,
    DropFieldCheck,
    DropForeignKey,
    DropReplacedColumn,
    Expand,
    SwapColumns,
    ValidateFieldCheck,
    ValidateForeignKey,
    WidenColumns,
)
from django_safemigrations.phases import Phase
from django_safemigrations.postgres.costs import Work
from django_safemigrations.postgres.offline import postgres
from django_safemigrations.postgres.type_changes import (
    Serves,
    parse_type,
    same_type,
    serves_both,
    type_change_work,
)
from django_safemigrations.rewrites.chain import Chain, Plain, Step
from django_safemigrations.rewrites.context import Context
from django_safemigrations.rewrites.models import column_of
from django_safemigrations.rewrites.references import uses_field
from django_safemigrations.rewrites.targets import target_of

TIMES = ("timestamp with time zone", "timestamp without time zone")


@dataclass(frozen=True)
class DatabaseColumn:
    """What a field makes of its column.

    Attributes:
        name: of the column.
        type: PostgreSQL's type, as Django writes it.
        collation: its collation, or None for the type's own.
        check: the CHECK that the type brings, or None.
        points: whether it has a foreign key constraint.
    """

    name: str
    type: str
    collation: str | None
    check: str | None
    points: bool


@dataclass(frozen=True)
class Change:
    """One field's column before and after."""

    context: Context
    operation: AlterField
    field: Any
    old: DatabaseColumn
    new: DatabaseColumn

    @property
    def model(self) -> ModelState:
        """The model's state before the change."""
        return self.context.model(self.operation.model_name)

    @property
    def label(self) -> str:
        """The field, for messages."""
        model = self.model
        return f"{model.app_label}.{model.name}.{self.operation.name}"

    @property
    def keeps_type(self) -> bool:
        """Whether type and collation stay."""
        return same_type(self.old.type, self.new.type) and self.old.collation == self.new.collation

    @property
    def serves(self) -> Serves:
        """Which column both code generations can use."""
        return serves_both(self.old.type, self.new.type)


def phase(context: Context, operation: AlterField, old: Any) -> Phase:
    """Return the phase in which the state of a changed type changes."""
    steps = change_type(context, operation, old)
    expands = [step for step in steps if isinstance(step, Plain) or _sets_state(step)]
    return Phase.EXPAND if expands else Phase.CONTRACT


def _sets_state(chain: Chain) -> bool:
    return any(operation.state_operations for operation in chain.expand)  # type: ignore[attr-defined]


def change_type(context: Context, operation: AlterField, old: Any) -> list[Step]:
    """Stage an AlterField that changes a column's type, collation, name or checks."""
    change = _change(context, operation, old)
    if change is None:
        return [Plain(operation)]
    if change.old.name != change.new.name:
        return [_second_column(change)]
    if change.keeps_type:
        return [_constraints_only(change)]
    if _is_free(change):
        if not (referring := _referring(change)):
            return [Plain(operation)]
        if not any(_is_used_specially(model, name) for model, name in referring):
            return [_widened(change)]
    reason = _why_not(change)
    if reason:
        note = f"{change.label} changes its type in place (DSM506): {reason}."
        return [Plain(operation, note)]
    return [_swapped(change)]


def _change(context: Context, operation: AlterField, old: Any) -> Change | None:
    model = context.model(operation.model_name)
    before = database_column(context, model, operation.name, old)
    after = database_column(context, model, operation.name, operation.field)
    if before is None or after is None:
        return None
    return Change(context, operation, old, before, after)


def database_column(
    context: Context, model: ModelState, name: str, field: Any
) -> DatabaseColumn | None:
    """Return the column of a field, None if it has none or its type can't be known."""
    column = column_of(field, name)
    if column is None:
        return None
    if field.remote_field:
        target = target_of(context.state, model, field)
        if target.type is None or target.type[0] is None:
            return None
        return DatabaseColumn(column, target.type[0], target.type[1], None, field.db_constraint)
    bound = field.clone()
    bound.set_attributes_from_name(name)
    # The name of the column is no part of what is compared.
    bound.column = "column"
    parameters = bound.db_parameters(connection=postgres())
    if parameters["type"] is None:
        return None
    return DatabaseColumn(
        name=column,
        type=parameters["type"],
        collation=parameters.get("collation"),
        check=parameters["check"],
        points=False,
    )


# -- what PostgreSQL does in an instant ---------------------------------------------------


def _is_free(change: Change) -> bool:
    """Whether PostgreSQL changes the type without a look at the rows and without a new index."""
    old, new = change.old, change.new
    if old.collation != new.collation or old.check or new.check or old.points or new.points:
        return False
    if type_change_work(old.type, new.type) is not Work.NONE:
        return False
    indexed = change.field.db_index or change.field.unique
    if indexed and parse_type(old.type)[0] != parse_type(new.type)[0]:
        # Django drops the index for LIKE and builds another one.
        return False
    return not _is_used_specially(change.model, change.operation.name)


def _is_used_specially(model: ModelState, name: str) -> bool:
    """Whether a column is in a CHECK, or in an index that is partial or has an expression."""
    options = model.options
    for index in [*options.get("indexes", ()), *options.get("constraints", ())]:
        if not uses_field(index, name):
            continue
        plain = isinstance(index, UniqueConstraint) or not hasattr(index, "constraint_sql")
        if isinstance(index, CheckConstraint) or not plain:
            return True
        if getattr(index, "condition", None) or getattr(index, "expressions", ()):
            return True
    return False


def _referring(change: Change) -> list[tuple[ModelState, str]]:
    """Return the foreign keys that point to the column: model and field."""
    if not change.field.unique:
        return []
    own = (change.context.app_label, change.model.name_lower)
    found = []
    for model in change.context.state.models.values():
        for name, field in model.fields.items():
            if field.many_to_many or not field.remote_field:
                continue
            target = target_of(change.context.state, model, field)
            if target.model == own and target.field == change.operation.name:
                found.append((model, name))
    return found


def _why_not(change: Change) -> str:
    """Say why a second column can't take the place of the first; an empty text if it can."""
    if found := _referring(change):
        listed = ", ".join(f"{model.app_label}.{model.name}.{name}" for model, name in found)
        return f"foreign keys point to it ({listed}), and their columns change with it"
    for constraint in change.model.options.get("constraints", ()):
        if type(constraint).__name__ == "ExclusionConstraint" and uses_field(
            constraint, change.operation.name
        ):
            return (
                f"it is in the exclusion constraint {constraint.name}, which PostgreSQL can't "
                "build concurrently"
            )
    if change.operation.field.get_internal_type().endswith("AutoField"):
        return "PostgreSQL gives it its values"
    return ""


# -- constraints alone ----------------------------------------------------------------------


def _constraints_only(change: Change) -> Step:
    """Add or drop the CHECK of a field's type, or its foreign key, while the type stays."""
    operation = change.operation
    removing, adding = _dropped(change), _added(change)
    if not removing and not adding:
        return Plain(operation)
    fragment = f"{operation.model_name}_{operation.name}".lower()
    title = f"constraints of {change.label}"
    if adding:
        return Chain(
            title=title,
            name=f"check_{fragment}",
            contract=(
                Contract(state_operations=[operation], database_operations=[*removing, *adding]),
            ),
            after="old code may write what the new constraint forbids",
        )
    return Chain(
        title=title,
        name=f"check_{fragment}",
        expand=(Expand(state_operations=[operation], database_operations=removing),),
        why="new code may write what the constraint forbids",
    )


def _dropped(change: Change) -> list[Any]:
    """Return the stages that drop what comes with the old type: new code may write what it forbids."""
    where: dict[str, Any] = {
        "model_name": change.operation.model_name,
        "name": change.operation.name,
    }
    stages: list[Any] = []
    if change.old.check and change.old.check != change.new.check:
        # The way back names it as PostgreSQL names one that comes with its column.
        stages.append(DropFieldCheck(**where, inline=True))
    if change.old.points and not _points_alike(change):
        stages.append(DropForeignKey(**where))
    return stages


def _added(change: Change) -> list[Any]:
    """Return the stages that add what comes with the new type: old code may write what it forbids."""
    where: dict[str, Any] = {
        "model_name": change.operation.model_name,
        "name": change.operation.name,
    }
    stages: list[Any] = []
    if change.new.check and change.old.check != change.new.check:
        stages += [AddFieldCheck(**where), ValidateFieldCheck(**where)]
    if change.new.points and not _points_alike(change):
        stages += [AddForeignKey(**where), ValidateForeignKey(**where)]
    return stages


def _points_alike(change: Change) -> bool:
    """Whether both have a foreign key, and to the same column."""
    if not (change.old.points and change.new.points):
        return False
    state, model = change.context.state, change.model
    one, other = (target_of(state, model, f) for f in (change.field, change.operation.field))
    return (one.model, one.field) == (other.model, other.field)


# -- a second column ------------------------------------------------------------------------


def _stages(change: Change, columns: dict[str, str]) -> tuple[list[Any], Any]:
    """Return the stages that make the second column, and the one that drops the first."""
    operation, old, new = change.operation, change.old, change.new
    where: dict[str, Any] = {"model_name": operation.model_name, "name": operation.name}
    beside: dict[str, Any] = {**where, "columns": columns} if columns else where

    def typed(column: DatabaseColumn) -> dict[str, Any]:
        collation = {"collation": column.collation} if column.collation else {}
        return {**where, "db_type": column.type, **collation, **beside}

    begin = [
        AddShadowColumn(**typed(new)),
        BackfillShadowColumn(**beside),
        CopyShadowIndexes(**beside),
        CopyShadowConstraints(**beside),
    ]
    return begin, DropReplacedColumn(**typed(old))


def _swapped(change: Change) -> Chain:
    """Let a column of the new type take the place of the old one."""
    operation, old, new = change.operation, change.old, change.new
    begin, drop = _stages(change, {})
    begin = [*_dropped(change), *begin]
    swap = SwapColumns(model_name=operation.model_name, name=operation.name)
    checks = _added(change)
    kinds = f"{old.type} to {new.type}"
    if old.collation != new.collation:
        kinds = f"{old.type} to {new.type} COLLATE {new.collation or 'default'}"
    title = f"type of {change.label}: {kinds}"
    name = f"type_{operation.model_name}_{operation.name}".lower()
    if change.serves is Serves.NEW:
        return Chain(
            title=title,
            name=name,
            expand=(Expand(state_operations=[operation], database_operations=[*begin, swap]),),
            contract=(Contract(database_operations=[*checks, drop]),),
            why="ALTER COLUMN TYPE would rewrite the table or its indexes while everybody waits, so "
            "a second column is converted in batches and takes the place of the first",
            after="when no old code runs any more, the column of the old type goes",
        )
    narrows = change.serves is Serves.OLD
    return Chain(
        title=title,
        name=name,
        expand=(Expand(database_operations=begin),),
        contract=(
            Contract(state_operations=[operation], database_operations=[swap, *checks, drop]),
        ),
        why="ALTER COLUMN TYPE would rewrite the table while everybody waits, so a second column "
        "is converted in batches",
        after="old code may write what does not fit the new type, so the columns are swapped when "
        "it is gone"
        if narrows
        else "no column serves old and new code at once: stop old code, run this, then start new "
        "code",
        note="" if narrows else _advice(change),
    )


def _widened(change: Change) -> Chain:
    """Change the types of a column and of what points to it in the catalog alone."""
    operation = change.operation
    stage = WidenColumns(model_name=operation.model_name, name=operation.name)
    return Chain(
        title=f"type of {change.label}: {change.old.type} to {change.new.type}",
        name=f"type_{operation.model_name}_{operation.name}".lower(),
        expand=(Expand(state_operations=[operation], database_operations=[stage]),),
        why="Django would drop the foreign keys that point to it and validate them anew while "
        "everybody waits",
    )


def _second_column(change: Change) -> Step:
    """Keep a column for either code generation, each of its own type."""
    operation, old, new = change.operation, change.old, change.new
    reason = _why_not(change)
    if reason:
        return Plain(
            operation,
            f"{change.label} changes its column in place (DSM302): {reason}. Old code fails from "
            "then on.",
        )
    begin, drop = _stages(change, {old.name: new.name})
    return Chain(
        title=f"column of {change.label}: {old.name} {old.type} to {new.name} {new.type}",
        name=f"column_{operation.model_name}_{operation.name}".lower(),
        expand=(
            Expand(state_operations=[operation], database_operations=[*_dropped(change), *begin]),
        ),
        contract=(Contract(database_operations=[drop, *_added(change)]),),
        why="old code uses the one column and new code the other, so both are kept in step",
        after="when no old code runs any more, its column goes",
    )


def _advice(change: Change) -> str:
    """Return the line that gives new code a column of its own."""
    kind = parse_type(change.new.type)[0].split(" ")[0]
    taken = {column_of(field, name) for name, field in change.model.fields.items()}
    name = f"{change.old.name}_{kind}"
    while name in taken:
        name += "_new"
    return (
        f"{change.label} becomes {change.new.type} (DSM525): old code fails on a column of the new "
        f"type, and new code on one of the old ({change.old.type}). To have a column for either, "
        f'add db_column="{name}" to {change.label} in the model and run makemigrations again; '
        "without it, old code has to be stopped before the contract runs, and new code started "
        "after it."
    )
