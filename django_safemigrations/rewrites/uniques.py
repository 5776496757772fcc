"""Rules that rows may not be there twice: new ones stand before old ones go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.migrations import AlterField, AlterUniqueTogether, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState

from django_safemigrations.operations import (
    AddFieldUnique,
    AddUniqueConstraint,
    AddUniqueTogether,
    AlterFieldIndexesConcurrently,
    Contract,
    DropConstraint,
    DropFieldUnique,
    DropUniqueTogether,
    Expand,
    RenameConstraint,
    ReplaceUniqueConstraint,
)
from django_safemigrations.phases import Phase
from django_safemigrations.rewrites.chain import Chain, Plain, Step
from django_safemigrations.rewrites.context import Context
from django_safemigrations.rewrites.replacements import (
    Unique,
    added_by,
    following,
    removed_by,
    together,
    uniques_of,
)

BUILD = (
    "its index would be built while every statement waits, so it is built concurrently and then "
    "made a constraint"
)
DROP = "new code may write what it forbids, so it goes before new code is deployed"
REPLACE = "the new rule stands before the old one goes, so that at no time neither is enforced"
DEFERRABLE = "until then old code's INSERT … ON CONFLICT DO NOTHING would fail on a deferrable one"
RENAME = "it is the same rule under another name, so nothing is built or dropped"


def phase(context: Context, operation: AlterField, old: Any) -> Phase:
    """Return the phase in which the state of a changed ``unique`` changes."""
    return Phase.EXPAND


def change_unique(context: Context, operation: AlterField, old: Any) -> list[Step]:
    """Stage an AlterField that does nothing but change ``unique``."""
    return change_rules(context, operation)


def change_rules(context: Context, operation: Any) -> list[Step]:
    """Stage an operation that adds or removes unique rules, with those that take their place."""
    model = context.model(getattr(operation, "model_name", None) or operation.name)
    replacing = following(context, operation, model)
    context.take(replacing)
    removed, added = removed_by(operation, model), []
    sets = together(model.options.get("unique_together"))
    for each in (operation, *replacing):
        added += added_by(each, model, sets)
        if type(each) is AlterUniqueTogether:
            sets = together(each.option_value)
    if not removed and not added:
        return [Plain(operation)]
    stages, why = _stages(model, removed, added)
    if not stages:
        # Nothing but a message differs.
        return [Plain(SeparateDatabaseAndState(state_operations=[operation, *replacing]))]
    later = not removed and all(rule.is_deferrable for rule in added)
    change: Any = Contract if later else Expand
    made = change(state_operations=[operation, *replacing], database_operations=stages)
    notes = (
        _lost_targets(context, model, removed, added),
        "" if later else _ignored_conflicts(context, model, added),
    )
    return [
        Chain(
            title=_title(context, model, removed, added),
            name=_name([operation, *replacing][-1], removed, added),
            expand=() if later else (made,),
            contract=(made,) if later else (),
            why="" if later else why,
            after=DEFERRABLE if later else "",
            note=" ".join(filter(None, notes)),
        )
    ]


def _stages(
    model: ModelState, removed: Sequence[Unique], added: Sequence[Unique]
) -> tuple[list[Operation], str]:
    """Return the stages, new rules first, and the reason for them."""
    left = list(removed)
    renames: list[Operation] = []
    builds: list[Operation] = []
    replaced = False
    for rule in added:
        same = next((old for old in left if _can_be_renamed(old, rule, removed)), None)
        namesake = next((old for old in left if _has_name_of(old, rule)), None)
        if same is not None:
            left.remove(same)
            renames += _rename(model, same, rule)
        elif namesake is not None:
            left.remove(namesake)
            replaced = True
            builds.append(ReplaceUniqueConstraint(model.name_lower, str(rule.reference)))
        else:
            builds.append(_add(model, rule))
    drops = [_drop(model, rule) for rule in left]
    if renames and not builds and not drops:
        return renames, RENAME
    if replaced or (builds and drops):
        return [*renames, *builds, *drops], REPLACE
    return [*renames, *builds, *drops], BUILD if builds else DROP


def _has_name_of(old: Unique, new: Unique) -> bool:
    return (
        old.constraint is not None
        and new.constraint is not None
        and old.constraint.name == new.constraint.name
    )


def _can_be_renamed(old: Unique, new: Unique, removed: Sequence[Unique]) -> bool:
    """Whether both are the same rule, and the name is not that of another that goes."""
    taken = any(_has_name_of(other, new) for other in removed if other is not old)
    return old.is_same_rule(new) and not taken


def _rename(model: ModelState, old: Unique, new: Unique) -> list[Operation]:
    found: list[Operation] = []
    if not _has_name_of(old, new):
        found.append(RenameConstraint(model.name_lower, old.reference, new.reference))
    found += [
        AlterFieldIndexesConcurrently(model.name_lower, rule.fields[0])
        for rule in (old, new)
        if rule.of_field
    ]
    return found


def _add(model: ModelState, rule: Unique) -> Operation:
    if rule.of_field:
        return AddFieldUnique(model.name_lower, rule.fields[0])
    if rule.constraint is None:
        return AddUniqueTogether(model.name_lower, list(rule.fields))
    return AddUniqueConstraint(model.name_lower, str(rule.constraint.name))


def _drop(model: ModelState, rule: Unique) -> Operation:
    if rule.of_field:
        return DropFieldUnique(model.name_lower, rule.fields[0])
    if rule.constraint is None:
        return DropUniqueTogether(model.name_lower, list(rule.fields))
    return DropConstraint(model.name_lower, str(rule.constraint.name))


def _title(
    context: Context, model: ModelState, removed: Sequence[Unique], added: Sequence[Unique]
) -> str:
    new = ", ".join(rule.title for rule in added)
    old = ", ".join(rule.title for rule in removed)
    place = f"{context.app_label}.{model.name}"
    if not added:
        return f"drop {old} of {place}"
    return f"{new} on {place}" + (f" in place of {old}" if removed else "")


def _name(operation: Operation, removed: Sequence[Unique], added: Sequence[Unique]) -> str:
    if type(operation) is AlterField:
        verb = "unique" if added else "drop_unique"
        return f"{verb}_{operation.model_name.lower()}_{operation.name.lower()}"
    return operation.migration_name_fragment


def _lost_targets(
    context: Context, model: ModelState, removed: Sequence[Unique], added: Sequence[Unique]
) -> str:
    """Say which upserts of old code fail from now on; an empty text if none do."""
    gone = {id(rule.constraint) if rule.constraint else rule.fields for rule in removed}
    staying = [
        rule
        for rule in uniques_of(model)
        if (id(rule.constraint) if rule.constraint else rule.fields) not in gone
    ]
    coming = [*added]
    for other in context.later:
        named = getattr(other, "model_name", None) or getattr(other, "name", "")
        if str(named).lower() == model.name_lower:
            coming += added_by(other, model, ())
    kept = {frozenset(rule.fields) for rule in (*staying, *coming) if rule.is_conflict_target}
    lost = [
        ", ".join(rule.fields)
        for rule in removed
        if rule.is_conflict_target and frozenset(rule.fields) not in kept
    ]
    if not lost:
        return ""
    place = f"{context.app_label}.{model.name}"
    fields = " and ".join(f"({names})" for names in dict.fromkeys(lost))
    return (
        f"{place}: once the unique rule over {fields} is gone, old code's bulk_create(…, "
        f"update_conflicts=True, unique_fields=…) with these fields fails (DSM515), for PostgreSQL "
        "finds no index for its ON CONFLICT. If old code does that, release code that does "
        "without it first, and make this change in the release after that."
    )


def _ignored_conflicts(context: Context, model: ModelState, added: Sequence[Unique]) -> str:
    """Say which inserts fail beside a deferrable rule; an empty text if none do."""
    names = [str(rule.reference) for rule in added if rule.is_deferrable]
    if not names or any(rule.is_deferrable for rule in uniques_of(model)):
        return ""
    return (
        f"{context.app_label}.{model.name}: {', '.join(names)} is deferrable (DSM517), so old "
        "code's bulk_create(…, ignore_conflicts=True) on it fails once it is there. If old code does "
        "that, remove the old rule in this run, and add the new one in the next release."
    )
