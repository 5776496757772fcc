"""Decides, operation by operation, what is left plain and what becomes a chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.migrations import (
    AddIndex,
    AlterField,
    AlterModelManagers,
    AlterModelOptions,
    AlterModelTableComment,
    CreateModel,
    RemoveField,
    RemoveIndex,
    RenameField,
    RenameModel,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_safemigrations.conf import Settings
from django_safemigrations.rewrites import indexes, not_null, renames
from django_safemigrations.rewrites.chain import Plain, Step
from django_safemigrations.rewrites.models import find_model, has_own_table, is_generated
from django_safemigrations.rewrites.references import uses_field

STATE_ONLY = (AlterModelManagers, AlterModelOptions, AlterModelTableComment)


def rewrite(
    app_label: str,
    operations: Sequence[Operation],
    state: ProjectState,
    settings: Settings,
    created: set[tuple[str, str]],
) -> list[Step]:
    """Rewrite the operations of one migration.

    Args:
        app_label: the app they belong to.
        operations: what the autodetector found, in its order.
        state: the state before them; it is moved past them.
        settings: the settings in force.
        created: models created in this run, by app label and lower-case name; models
            that these operations create are added to it.

    Raises:
        UnsupportedChange: the settings forbid what is asked for.
    """
    return _Rewriter(app_label, list(operations), state, settings, created).run()


class _Rewriter:
    def __init__(
        self,
        app_label: str,
        operations: list[Operation],
        state: ProjectState,
        settings: Settings,
        created: set[tuple[str, str]],
    ) -> None:
        self.app_label = app_label
        self.operations = operations
        self.state = state
        self.settings = settings
        self.created = created
        # Operations that became a part of an earlier chain.
        self.taken: set[int] = set()

    def run(self) -> list[Step]:
        steps: list[Step] = []
        self._take_followers()
        for position, operation in enumerate(self.operations):
            if id(operation) in self.taken:
                continue
            found = self._steps(operation, self.operations[position + 1 :])
            steps += found
            for done in self._applied(operation, found):
                done.state_forwards(self.app_label, self.state)
        return steps

    def _applied(self, operation: Operation, steps: list[Step]) -> list[Operation]:
        """Return the operations whose states come with these steps, in order."""
        chains = [step for step in steps if not isinstance(step, Plain)]
        if chains and type(operation) is RenameField:
            return [*chains[0].expand]
        return [operation]

    def _take_followers(self) -> None:
        """Take out index and constraint operations that only follow a rename.

        They stand before and after the rename in Django's order, so they are looked for
        before anything is rewritten; the rename puts them back into its own state.
        """
        self.followers: dict[str, tuple[list[RenameField], Any]] = {}
        if not any(type(operation) is RenameField for operation in self.operations):
            return
        # A renamed model comes first, and a db_column that keeps a column's name before its
        # rename; indexes and constraints are still those of old code.
        state = self.state.clone()
        for operation in self.operations:
            if type(operation) is RenameModel or (
                type(operation) is AlterField and self._has_field(state, operation)
            ):
                operation.state_forwards(self.app_label, state)
            if type(operation) is not RenameField:
                continue
            model = find_model(state, self.app_label, operation.model_name)
            if model is None or not has_own_table(model) or self._is_new(operation):
                continue
            if not renames.changes_column(model, operation):
                continue
            if self.settings.rename_field == "db_column":
                renames.refuse_by_setting(model, operation)
            if renames.why_not(model, operation):
                continue
            self.followers.setdefault(model.name_lower, ([], None))[0].append(operation)
        for name, (renaming, _) in list(self.followers.items()):
            model = state.models[self.app_label, name]
            changed = {operation.old_name: operation.new_name for operation in renaming}
            removed, added, names = renames.follow_renames(model, self.operations, changed)
            self.followers[name] = (renaming, (removed, added, names))
            self.taken |= {id(operation) for operation in [*removed, *added]}

    def _has_field(self, state: ProjectState, operation: AlterField) -> bool:
        model = find_model(state, self.app_label, operation.model_name)
        return model is not None and operation.name in model.fields

    def _is_new(self, operation: Any) -> bool:
        return (self.app_label, operation.model_name.lower()) in self.created

    def _is_rewritten(self, operation: Any) -> bool:
        """Whether the operation is about a table that may hold rows."""
        key = (self.app_label, operation.model_name.lower())
        model = find_model(self.state, *key)
        return key not in self.created and model is not None and has_own_table(model)

    def _steps(self, operation: Operation, later: list[Operation]) -> list[Step]:
        # Exact types: a subclass is somebody else's operation, with reasons of its own.
        if type(operation) is CreateModel:
            self.created.add((self.app_label, operation.name_lower))
        elif type(operation) is RenameModel:
            old = (self.app_label, operation.old_name_lower)
            if old in self.created:
                self.created.add((self.app_label, operation.new_name_lower))
        elif not hasattr(operation, "model_name") or not self._is_rewritten(operation):
            pass
        elif type(operation) is AddIndex:
            return [indexes.add_index(self.app_label, operation)]
        elif type(operation) is RemoveIndex:
            at_once = self._index_in_the_way(operation, later)
            return [indexes.remove_index(self.app_label, operation, at_once=at_once)]
        elif type(operation) is AlterField:
            return self._alter_field(operation)
        elif type(operation) is RenameField:
            return self._rename_field(operation)
        return [Plain(operation)]

    def _index_in_the_way(self, operation: RemoveIndex, later: list[Operation]) -> bool:
        """Whether a later operation of this run needs the index gone, in state or database."""
        model = find_model(self.state, self.app_label, operation.model_name)
        assert model is not None
        indexes_there = model.options.get("indexes", [])
        index = next((item for item in indexes_there if item.name == operation.name), None)
        for other in later:
            about = str(getattr(other, "model_name", ""))
            if not about:
                whole = str(getattr(other, "old_name", getattr(other, "name", "")))
                if whole.lower() == model.name_lower and not isinstance(other, STATE_ONLY):
                    # The model is renamed or deleted, or gets another table.
                    return True
            elif about.lower() != model.name_lower:
                continue
            elif type(other) is AddIndex and other.index.name == operation.name:
                return True
            elif isinstance(other, AlterField | RemoveField | RenameField):
                name = getattr(other, "old_name", getattr(other, "name", ""))
                if index is None or uses_field(index, name):
                    return True
        return False

    def _rename_field(self, operation: RenameField) -> list[Step]:
        renaming, following = self.followers.get(operation.model_name.lower(), ([], None))
        if operation not in renaming:
            model = find_model(self.state, self.app_label, operation.model_name)
            assert model is not None
            note = ""
            if model.fields[operation.old_name].many_to_many:
                note = (
                    f"{self.app_label}.{model.name}.{operation.old_name} is a many-to-many field "
                    "(DSM302): its table is renamed in place unless db_table names it, and old "
                    "code fails from then on."
                )
            elif renames.changes_column(model, operation):
                note = (
                    f"{self.app_label}.{model.name}.{operation.old_name} is renamed in place "
                    f"(DSM302): {renames.why_not(model, operation)}. Old code fails from then on; "
                    f"{renames.db_column_line(model, operation)} to avoid it."
                )
            return [Plain(operation, note)]
        if operation is not renaming[0]:
            return []
        self.taken |= {id(other) for other in renaming}
        removed, added, names = following
        model = find_model(self.state, self.app_label, operation.model_name)
        assert model is not None
        note = " ".join(filter(None, (renames.doubts(model, other) for other in renaming)))
        return [renames.rename_fields(self.app_label, renaming, removed, added, names, note)]

    def _alter_field(self, operation: AlterField) -> list[Step]:
        model = find_model(self.state, self.app_label, operation.model_name)
        assert model is not None
        old, new = model.fields[operation.name], operation.field
        if old.many_to_many or new.many_to_many or is_generated(old) or is_generated(new):
            return [Plain(operation)]
        becomes_not_null = old.null and not new.null and not new.primary_key
        indexing = _is_indexed(new) - _is_indexed(old)
        if new.unique != old.unique:
            # The index of a unique constraint serves; adding one is a change of its own.
            indexing = 0
        if not becomes_not_null and not indexing:
            return [Plain(operation)]
        return self._aspects(operation, old, becomes_not_null, indexing)

    def _aspects(
        self, operation: AlterField, old: Any, becomes_not_null: bool, indexing: int
    ) -> list[Step]:
        """Make each change of one AlterField an operation of its own, expands before contracts.

        What is no index and no NOT NULL comes first, as Django wrote it. Each operation
        holds everything that came before it, so that the last one holds all.
        """
        new: Any = operation.field
        field = new.clone()
        field.null = old.null
        if indexing:
            field.db_index = old.db_index
        if not operation.preserve_default:
            # A one-off default belongs to the NOT NULL alone.
            field.default = old.default
        steps: list[Step] = []
        if _in_database(field) != _in_database(old):
            # What never reaches the database comes along with the rest.
            steps.append(Plain(self._altered(operation, field)))
        for aspect in self._in_order(new, becomes_not_null, indexing):
            field = field.clone()
            if aspect == "null":
                field.null = False
                altered = self._altered(operation, field.clone(), operation.preserve_default)
                altered.field.default = new.default
                steps.append(not_null.set_not_null(self.app_label, altered))
                continue
            field.db_index = new.db_index
            change = indexes.index_field if indexing > 0 else indexes.unindex_field
            steps.append(change(self.app_label, self._altered(operation, field)))
        return steps

    def _in_order(self, new: Any, becomes_not_null: bool, indexing: int) -> list[str]:
        order = ["index"] if indexing else []
        if becomes_not_null:
            # An index is built in expand and dropped in contract; NOT NULL may be either.
            in_expand = not_null.can_expand(new)
            order.insert(0 if indexing < 0 and in_expand else len(order), "null")
        return order

    def _altered(
        self, operation: AlterField, field: Any, preserve_default: bool = True
    ) -> AlterField:
        return AlterField(
            model_name=operation.model_name,
            name=operation.name,
            field=field,
            preserve_default=preserve_default,
        )


def _in_database(field: Any) -> tuple[str, list[Any], dict[str, Any]]:
    """Return what of a field reaches the database."""
    _, path, args, kwargs = field.deconstruct()
    # Django compares columns apart from these, and on_delete may be the database's since 6.1.
    python_only = {*field.non_db_attrs, "default"} - {"db_column", "on_delete"}
    return path, args, {k: v for k, v in kwargs.items() if k not in python_only}


def _is_indexed(field: Any) -> int:
    return int(bool(field.db_index and not field.unique))
