"""Renamed models and tables go on under their old names, by views, until no old code is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.migrations import (
    AddField,
    AlterField,
    AlterModelTable,
    CreateModel,
    RenameField,
    RenameModel,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_safemigrations.operations import (
    AddSyncedColumns,
    BackfillSyncedColumns,
    Contract,
    CopyConstraints,
    CopyIndexes,
    DropOldNameView,
    DropSyncedColumns,
    Expand,
    MergeContentTypes,
    RenameContentType,
    RenameForeignKeys,
    RenameTableBehindView,
)
from django_safemigrations.rewrites.chain import Chain, Plain, Step
from django_safemigrations.rewrites.context import Context, Rule
from django_safemigrations.rewrites.models import has_own_table
from django_safemigrations.rewrites.table_names import (
    ManyToManyTable,
    ModelKey,
    columns_of,
    many_to_many_tables,
    table_of,
)

CONTENT_TYPES = ("contenttypes", "contenttype")
WHY = "a renamed table would break old code at once, so a view serves it under the old name"
AFTER = "when no code uses the old name any more, what served it goes"


@dataclass
class Changes:
    """What a rename does to tables.

    Attributes:
        model: the model's name in new code.
        renamed: keyword arguments of the stages for each table that gets another name.
        doubled: the same for each table of a ManyToManyField of which only columns do, in
            expand and in contract.
    """

    model: str
    renamed: list[dict[str, Any]] = field(default_factory=list)
    doubled: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    @property
    def expand(self) -> list[Operation]:
        """The stages of the expand phase; what takes long comes first."""
        stages: list[Operation] = []
        for where, _ in self.doubled:
            stages += [
                AddSyncedColumns(**where),
                BackfillSyncedColumns(**where),
                CopyIndexes(**where),
                CopyConstraints(**where),
            ]
        return [*stages, *(RenameTableBehindView(**where) for where in self.renamed)]

    @property
    def contract(self) -> list[Operation]:
        """The stages of the contract phase; a view is in the way of its columns' drop."""
        return [
            *(DropOldNameView(**where) for where in self.renamed),
            *(DropSyncedColumns(**where) for _, where in self.doubled),
        ]

    @property
    def old_tables(self) -> set[str]:
        """The names that views take."""
        return {where["old_table"] for where in self.renamed}


def rename_model(operation: RenameModel, context: Context) -> list[Step]:
    """Stage a RenameModel, with the AlterModelTable of the same run if there is one."""
    old, new = operation.old_name, operation.new_name
    if old.lower() == new.lower():
        return [Plain(operation)]
    name = f"{context.app_label}.{old}"
    heirs = _heirs(context.state, context.app_label, old)
    if heirs:
        note = (
            f"{name} can't be renamed by Django while {' and '.join(heirs)} inherit"
            f"{'s' if len(heirs) == 1 else ''} from its table (DSM538): migrate fails on the link "
            "to the parent. Rename it in the code only for those who read it (verbose_name), or "
            "replace the inheritance by a OneToOneField first."
        )
        return [Plain(operation, note)]
    renaming = [operation, *_of_shared_tables(operation, context)]
    names = {other.old_name: other.new_name for other in renaming}
    moving = [
        other
        for other in context.later
        if type(other) is AlterModelTable
        and other.name_lower in {name.lower() for name in names.values()}
    ]
    changes = _changes(context, [*renaming, *moving], names)
    taken = _taken_again(changes, context)
    if taken:
        note = (
            f"{name} is renamed in place (DSM505): this run gives its table's name {taken} to "
            "another model, so old code can't go on using it. Rename it in one release, and add "
            "the other model in the next."
        )
        return [Plain(operation, note)]
    if not changes.renamed and not changes.doubled and CONTENT_TYPES not in context.state.models:
        return [Plain(operation)]
    context.take([*renaming[1:], *moving])
    kinds = [{"model_name": after, "old_name": before} for before, after in names.items()]
    keys: list[Operation] = []
    if changes.renamed:
        keys.append(RenameForeignKeys(model_name=new, renamed=list(names.items())))
    return [
        Chain(
            title=" and ".join(
                f"rename model {context.app_label}.{before} to {after}"
                for before, after in names.items()
            ),
            name="_and_".join(
                f"rename_{before}_{after}".lower() for before, after in names.items()
            ),
            expand=(
                Expand(
                    state_operations=[*renaming, *moving],
                    database_operations=[
                        *changes.expand,
                        *keys,
                        *(RenameContentType(**kind) for kind in kinds),
                    ],
                ),
            ),
            contract=(
                Contract(
                    database_operations=[
                        *changes.contract,
                        *(MergeContentTypes(**kind) for kind in kinds),
                    ]
                ),
            ),
            why=WHY,
            after=AFTER,
        )
    ]


def _of_shared_tables(operation: RenameModel, context: Context) -> list[RenameModel]:
    """Return the other models' renames that change a table of a ManyToManyField with this one."""
    app_label = context.app_label
    waiting = {
        (app_label, other.old_name_lower): other
        for other in context.later
        if type(other) is RenameModel and context.may_hold_rows(other.old_name)
    }
    tables = list(many_to_many_tables(context.state))
    found: list[RenameModel] = []
    reached = {(app_label, operation.old_name_lower)}
    while True:
        near = {
            key
            for table in tables
            if reached & {table.owner, table.target}
            for key in (table.owner, table.target)
            if key in waiting
        }
        if not near:
            return sorted(found, key=context.later.index)
        found += [waiting.pop(key) for key in near]
        reached |= near


def alter_model_table(operation: AlterModelTable, context: Context) -> list[Step]:
    """Stage an AlterModelTable that changes the table's name."""
    model = context.model(operation.name)
    return _behind_view(
        operation,
        context,
        model.name,
        title=f"rename the table of {context.app_label}.{model.name}",
        name=f"rename_table_{model.name}",
    )


def rename_many_to_many(operation: RenameField, context: Context) -> list[Step]:
    """Stage a RenameField of a ManyToManyField whose table is renamed with it."""
    old, new = operation.old_name, operation.new_name
    return _behind_view(
        operation,
        context,
        context.model(operation.model_name).name,
        title=f"rename {context.app_label}.{operation.model_name}: {old} to {new}",
        name=f"rename_{operation.model_name}_{old}_to_{new}",
    )


def rename_table_of_field(operation: AlterField, context: Context) -> list[Step]:
    """Stage an AlterField that gives a ManyToManyField's table another name."""
    return _behind_view(
        operation,
        context,
        context.model(operation.model_name).name,
        title=f"rename the table of {context.app_label}.{operation.model_name}.{operation.name}",
        name=f"rename_table_{operation.model_name}_{operation.name}",
    )


def _behind_view(
    operation: Operation, context: Context, model: str, *, title: str, name: str
) -> list[Step]:
    """Stage one operation that gives tables of a model, which keeps its name, other names."""
    changes = _changes(context, [operation], {model: model})
    if not changes.renamed:
        return [Plain(operation)]
    taken = _taken_again(changes, context)
    if taken:
        note = (
            f"{title[0].upper()}{title[1:]}: it is done in place (DSM505), since this run gives "
            f"the old name {taken} to something else, so old code can't go on using it. Make one "
            "of the two changes in this release, and the other in the next."
        )
        return [Plain(operation, note)]
    return [
        Chain(
            title=title,
            name=name.lower(),
            expand=(Expand(state_operations=[operation], database_operations=changes.expand),),
            contract=(Contract(database_operations=changes.contract),),
            why=WHY,
            after=AFTER,
        )
    ]


def _changes(
    context: Context, operations: Sequence[Operation], names: Mapping[str, str]
) -> Changes:
    """Compare the tables before and after some operations.

    Args:
        context: their place.
        operations: the operations.
        names: the models' names in new code, by those in old code.
    """
    before, label = context.state, context.app_label
    after = before.clone()
    for operation in operations:
        operation.state_forwards(label, after)
    keys = {(label, a.lower()): (label, b.lower()) for a, b in names.items()}
    found = Changes(next(iter(names.values())))
    for old_key, new_key in keys.items():
        model, renamed = before.models[old_key], after.models[new_key]
        if table_of(model) != table_of(renamed):
            found.renamed.append(
                {
                    "model_name": renamed.name,
                    "old_table": table_of(model),
                    "new_table": table_of(renamed),
                    "columns": columns_of(model),
                }
            )
    fields = {
        (label, operation.model_name.lower(), operation.old_name): operation.new_name
        for operation in operations
        if isinstance(operation, RenameField)
    }
    afterwards = {table.field: table for table in many_to_many_tables(after)}
    finally_ = _tables_at_the_end(context, after)
    for table in many_to_many_tables(before):
        name = fields.get((*table.owner, table.name), table.name)
        if table.owner not in context.created:
            same = afterwards[keys.get(table.owner, table.owner), name]
            _compare(found, table, same, finally_[same.field])
    return found


def _tables_at_the_end(context: Context, state: ProjectState) -> dict[tuple[ModelKey, str], str]:
    """Return the names that the tables of a state's ManyToManyFields have after this migration."""
    end, label = state.clone(), context.app_label
    now = {table.field: table.field for table in many_to_many_tables(end)}
    for operation in context.later:
        if isinstance(operation, RenameModel):
            key = (label, operation.old_name_lower)
        elif isinstance(operation, RenameField):
            key = (label, operation.model_name_lower)
        elif isinstance(operation, AlterModelTable):
            key = (label, operation.name_lower)
        else:
            continue
        if key not in end.models:
            continue
        if isinstance(operation, RenameField):
            if operation.old_name not in end.models[key].fields:
                continue
            moved = {(key, operation.old_name): (key, operation.new_name)}
            now = {field: moved.get(place, place) for field, place in now.items()}
        elif isinstance(operation, RenameModel):
            owners = {key: (label, operation.new_name_lower)}
            now = {field: (owners.get(o, o), name) for field, (o, name) in now.items()}
        operation.state_forwards(label, end)
    tables = {table.field: table.table for table in many_to_many_tables(end)}
    return {field: tables[place] for field, place in now.items() if place in tables}


def _compare(
    found: Changes, before: ManyToManyTable, after: ManyToManyTable, table_at_the_end: str
) -> None:
    ends = {a: b for a, b in zip(before.ends, after.ends, strict=True) if a != b}
    columns = {f"{a}_id": f"{b}_id" for a, b in ends.items()}
    if before.table != after.table:
        where: dict[str, Any] = {
            "model_name": found.model,
            "old_table": before.table,
            "new_table": after.table,
            "columns": before.columns,
        }
        found.renamed.append({**where, "renames": columns} if columns else where)
    elif ends:
        where = {"model_name": found.model, "renames": ends, "table": before.table}
        found.doubled.append((where, {**where, "table": table_at_the_end}))


def _heirs(state: ProjectState, app_label: str, name: str) -> list[str]:
    """Return the models whose tables extend a model's, which keep Django from renaming it."""
    base = f"{app_label}.{name}".lower()
    return sorted(
        f"{model.app_label}.{model.name}"
        for model in state.models.values()
        if has_own_table(model)
        and any(isinstance(parent, str) and parent.lower() == base for parent in model.bases)
    )


def _taken_again(changes: Changes, context: Context) -> str:
    """Return the name of a table that a view would take and a later operation wants."""
    after = context.state.clone()
    wanted: set[str] = set()
    for operation in context.later:
        if isinstance(operation, CreateModel):
            operation.state_forwards(context.app_label, after)
            wanted.add(table_of(after.models[context.app_label, operation.name_lower]))
            wanted |= {
                table.table
                for table in many_to_many_tables(after)
                if table.owner == (context.app_label, operation.name_lower)
            }
        elif isinstance(operation, AddField) and operation.field.many_to_many:
            wanted.add(_future_table(operation, context))
        elif isinstance(operation, AlterModelTable) and operation.table:
            wanted.add(operation.table)
    return min(changes.old_tables & wanted, default="")


def _future_table(operation: AddField, context: Context) -> str:
    explicit = getattr(operation.field, "db_table", None)
    return str(explicit or f"{context.app_label}_{operation.model_name_lower}_{operation.name}")


RULES: dict[type, Rule] = {RenameModel: rename_model, AlterModelTable: alter_model_table}
