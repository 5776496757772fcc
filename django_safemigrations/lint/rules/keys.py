"""Rules for primary keys that change."""

from __future__ import annotations

from typing import Any

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.tables import foreign_keys_to, table_name
from django_safemigrations.lint.types import split

WIDTHS = ("smallint", "integer", "bigint")
BESIDE = (
    "Add the new key as a unique column of its own and leave the primary key where it is; let "
    "relations move over to it release by release."
)


def widened(old: str, new: str) -> bool:
    """Return whether an integer type only gets wider."""
    if not {old, new} <= set(WIDTHS):
        return False
    return WIDTHS.index(old) < WIDTHS.index(new)


def key_type(change: Any, why: str) -> Observation:
    """Judge a key whose type changes so that rows or indexes are written anew.

    Args:
        change: the AlterField, see `changes.Change`.
        why: what the change does to the table.
    """
    old, new = change.before.type, change.after.type
    others = foreign_keys_to(change.context.state, change.model, change.name)
    tables = sorted({table_name(model) for model, _ in others} - {change.table})
    also = f" The same happens to {', '.join(tables)}." if tables else ""
    if widened(old, new):
        stages = (
            "AddKeyColumns",
            "BackfillKeyColumns",
            "CopyKeyIndexes",
            "CopyKeyConstraints",
            "SwapKeyColumns",
        )
        names = f'(model_name="{change.model.name_lower}", name="{change.name}")'
        return Observation(
            "DSM534",
            f"Changing {change.column} from {old} to {new} {why} under ACCESS EXCLUSIVE: every "
            f"statement on it waits, reads included.{also}",
            "Write instead, in a migration with `atomic = False` (makemigrations does it for "
            "you):\nExpand(state_operations=[<this operation>], database_operations=["
            f"{', '.join(stage + names for stage in stages)}])",
        )
    return Observation(
        "DSM533",
        f"{change.column} becomes {new} instead of {old}, which {why} under ACCESS EXCLUSIVE; old "
        f"code then fails on it, and every foreign key to it changes with it.{also}",
        BESIDE,
    )


def is_rewritten(change: Any) -> bool:
    """Return whether a change of type is about a key whose values become others, or wider."""
    if not (change.old.primary_key and change.new.primary_key):
        return False
    text = ("varchar", "text", "character varying")
    return not all(split(kind)[0] in text for kind in (change.before.type, change.after.type))


def composite_key(table: str, field: Any) -> Observation:
    """Judge a composite primary key that a table is to get later: Django does nothing for it."""
    named = ", ".join(field.field_names)
    return Observation(
        "DSM533",
        f"Django adds no composite primary key to a table that is there: ({named}) of {table} stays "
        "without one, and without the unique index that the models rely on.",
        f"Create a new table with the key and move the rows over, or add a UniqueConstraint on "
        f"({named}) and leave the primary key where it is.",
    )


def loses_key(change: Any) -> Observation:
    """Judge a column that is the primary key no more."""
    return Observation(
        "DSM533",
        f"{change.column} is no longer the primary key: its index, and every foreign key to it, go "
        "under ACCESS EXCLUSIVE, while old code goes on looking rows up by it.",
        BESIDE,
    )


def becomes_key(change: Any) -> Observation:
    """Judge a column that becomes the primary key."""
    return Observation(
        "DSM533",
        f"{change.column} becomes the primary key: its index is built under ACCESS EXCLUSIVE, and "
        "old code goes on looking rows up by the key that was.",
        BESIDE,
    )
