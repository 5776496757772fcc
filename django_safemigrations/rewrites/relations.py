"""Foreign keys that point elsewhere, get or lose their constraint, or become one-to-ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.migrations import AlterField
from django.db.migrations.operations.base import Operation

from django_safemigrations import operations as stages
from django_safemigrations.phases import Phase
from django_safemigrations.rewrites import types, uniques
from django_safemigrations.rewrites.chain import Chain, Plain, Step
from django_safemigrations.rewrites.context import Context
from django_safemigrations.rewrites.models import column_of
from django_safemigrations.rewrites.targets import Target, target_of


def is_about(old: Any, new: Any) -> bool:
    """Whether both fields are foreign keys."""
    return bool(old.remote_field and new.remote_field)


def changes_kind(old: Any, new: Any) -> bool:
    """Whether a foreign key becomes a one-to-one, or the other way round."""
    return is_about(old, new) and bool(old.one_to_one) != bool(new.one_to_one)


@dataclass(frozen=True)
class _Change:
    """An AlterField from one foreign key to another.

    Attributes:
        context: its place among the operations.
        operation: the AlterField.
        old: the field before it.
    """

    context: Context
    operation: AlterField
    old: Any

    @property
    def new(self) -> Any:
        return self.operation.field

    @property
    def where(self) -> dict[str, Any]:
        return {"model_name": self.operation.model_name, "name": self.operation.name}

    @property
    def title(self) -> str:
        return f"{self.context.app_label}.{self.operation.model_name}.{self.operation.name}"

    def targets(self) -> tuple[Target, Target]:
        """Where it points, before and after."""
        state, model = self.context.state, self.context.model(self.operation.model_name)
        return target_of(state, model, self.old), target_of(state, model, self.new)

    @property
    def moves(self) -> bool:
        """Whether it points to another table or column."""
        before, after = self.targets()
        return (before.model, before.field) != (after.model, after.field)

    @property
    def reshapes(self) -> bool:
        """Whether the column gets another name or type."""
        name = self.operation.name
        before, after = self.targets()
        return column_of(self.old, name) != column_of(self.new, name) or (
            self.moves and (before.type is None or before.type != after.type)
        )

    @property
    def had(self) -> bool:
        return bool(self.old.db_constraint)

    @property
    def has(self) -> bool:
        return bool(self.new.db_constraint)

    def key_stages(self) -> tuple[list[Operation], list[Operation]]:
        """Stages about the constraint: in expand, and in contract."""
        add: list[Operation] = [
            stages.AddForeignKey(**self.where),
            stages.ValidateForeignKey(**self.where),
        ]
        drop: list[Operation] = [stages.DropForeignKey(**self.where)]
        if not self.had:
            return [], add if self.has else []
        if not self.has:
            # What PostgreSQL did with the rows was old code's only way to do it.
            return ([], drop) if _action(self.old) else (drop, [])
        if self.moves:
            return drop, add
        if _action(self.old) == _action(self.new):
            return [], []
        replace: list[Operation] = [stages.ReplaceForeignKey(**self.where)]
        return (replace, []) if _expands(self.old, self.new) else ([], replace)

    def note(self) -> str:
        """Say what no stage can take from the developer."""
        if self.moves:
            before, after = (".".join(target.model) for target in self.targets())
            return (
                f"{self.title} points to {after} instead of {before} (DSM542): until the contract "
                "runs, both generations of code write to the column, and each takes the other's "
                f"values for keys of its own table. Rows that {after} does not have make the "
                "contract stop. A second foreign key under another name, filled and then used "
                "instead of this one, avoids that."
            )
        before_action, after_action = _action(self.old), _action(self.new)
        if before_action == after_action or not self.had:
            return ""
        when = "in expand" if self.has and _expands(self.old, self.new) else "in contract"
        return (
            f"{self.title}: {when}, PostgreSQL begins to do {after_action or 'nothing'} instead of "
            f"{before_action or 'nothing'} when what a row refers to is deleted, whichever "
            "generation of code deletes it."
        )


def _action(field: Any) -> str:
    """Return what PostgreSQL does on deletion, as Django 6.1's DB_CASCADE and the like have it."""
    return str(getattr(field.remote_field.on_delete, "operation", ""))


def _expands(old: Any, new: Any) -> bool:
    """Whether a changed action may come while old code runs.

    Code that does it in Python has done it when PostgreSQL comes to it. Code that leaves it
    to PostgreSQL needs the action; of two, the one that deletes no rows serves both.
    """
    before, after = _action(old), _action(new)
    return not before or (before == "CASCADE" and bool(after))


def phase(context: Context, operation: AlterField, old: Any) -> Phase:
    """Return the phase in which the state of a changed relation changes."""
    change = _Change(context, operation, old)
    if _changes_rules(change):
        return Phase.EXPAND
    if change.reshapes:
        return types.phase(context, operation, old)
    expand, contract = change.key_stages()
    return Phase.CONTRACT if contract and not expand else Phase.EXPAND


def change_relation(context: Context, operation: AlterField, old: Any) -> list[Step]:
    """Stage an AlterField that changes where a foreign key points, or how."""
    change = _Change(context, operation, old)
    if change.reshapes:
        if changes_kind(old, operation.field):
            return _in_two(change)
        return types.change_type(context, operation, old)
    if not (change.had or change.has or changes_kind(old, operation.field)):
        # Without a constraint Django has nothing to drop.
        return [Plain(operation, change.note())]
    expand, contract = change.key_stages()
    why, notes = _why(expand), [change.note()]
    states: list[Operation] = [operation]
    for rules in uniques.change_rules(context, operation) if _changes_rules(change) else ():
        if isinstance(rules, Chain):
            # The unique rule, with whatever else of this run takes its place.
            (begun,) = rules.expand
            assert isinstance(begun, stages.Expand)
            expand = [*begun.database_operations, *expand]
            states, why = list(begun.state_operations), rules.why
            notes.append(rules.note)
    model, name = operation.model_name, operation.name
    title, fragment = f"foreign key {change.title}", f"alter_{model.lower()}_{name.lower()}"
    note = " ".join(text for text in notes if text)
    if contract and not expand:
        done = (stages.Contract(contract, states),)
        return [Chain(title, fragment, contract=done, after=_after(contract), note=note)]
    return [
        Chain(
            title,
            fragment,
            expand=(stages.Expand(expand, states),),
            contract=(stages.Contract(contract),) if contract else (),
            why=why,
            after=_after(contract),
            note=note,
        )
    ]


def _in_two(change: _Change) -> list[Step]:
    """Stage a change of kind along with another column, target or type: one after the other.

    First the kind, so that what is copied to a second column is as it shall be. If that has
    another name, constraints and indexes keep the names that the first column gave them.
    """
    context, operation, old = change.context, change.operation, change.old
    between = AlterField(field=_of_kind(operation.field, old), **change.where)
    return [
        *change_relation(context, between, old),
        *types.change_type(context, operation, between.field),
    ]


def _of_kind(kind: Any, rest: Any) -> Any:
    """Return a field that is a one-to-one or a foreign key as one is, and else like another."""
    _, _, args, kwargs = rest.deconstruct()
    # OneToOneField has no say in these two.
    kwargs = {k: v for k, v in kwargs.items() if k not in ("unique", "db_index")}
    if not kind.one_to_one:
        kwargs |= {"unique": kind._unique, "db_index": kind.db_index}
    return type(kind)(*args, **kwargs)


def _changes_rules(change: _Change) -> bool:
    return changes_kind(change.old, change.new) and change.old.unique != change.new.unique


def _why(expand: Sequence[Operation]) -> str:
    if any(isinstance(stage, stages.DropForeignKey) for stage in expand):
        return "new code may write what the constraint forbids, so it goes before that is deployed"
    if expand:
        return "the new constraint is validated while the old one stands, so that nobody waits"
    return "Django would drop its constraint and validate it anew while everybody waits"


def _after(contract: Sequence[Operation]) -> str:
    if any(isinstance(stage, stages.AddForeignKey) for stage in contract):
        return "until then old code may write what the new constraint forbids"
    return "old code relies on what PostgreSQL does when a row is deleted" if contract else ""
