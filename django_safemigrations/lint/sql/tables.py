"""The tables that SQL names, as the state and earlier SQL know them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.db.migrations import CreateModel
from django.db.migrations.state import ModelState

from django_safemigrations.lint.columns import Column, allows_null, column, column_name
from django_safemigrations.lint.expressions import proves_not_null
from django_safemigrations.lint.tables import (
    foreign_keys_to,
    has_own_table,
    is_foreign_key,
    many_to_many_table,
    postgres,
    related_model,
    table_name,
    target_field_name,
)

SMALL = frozenset(
    {
        "django_migrations",
        "django_content_type",
        "django_site",
        "auth_permission",
        "auth_group",
        "auth_group_permissions",
    }
)
"""Tables that have a few hundred rows in every project."""


@dataclass(frozen=True)
class Table:
    """A table, view or materialised view by the name that SQL gives it.

    Attributes:
        name: without quotes, and without the schema ``public``.
        model: whose table it is, or None.
        owner: the model of a ManyToManyField that it belongs to, or None.
        created: whether this migration made it, so that nobody uses it yet.
        context: of the operation.
    """

    name: str
    model: ModelState | None
    owner: ModelState | None
    created: bool
    context: Any

    @property
    def is_known(self) -> bool:
        """Whether a model has it."""
        return self.model is not None or self.owner is not None

    @property
    def model_name(self) -> str | None:
        """Name of the model, if an operation of its app can name it."""
        if self.model is None or self.model.app_label != self.context.app_label:
            return None
        return self.model.name_lower

    def field(self, name: str) -> tuple[str, Any] | None:
        """Return the name of the field of a column, and the field."""
        if self.model is None:
            return None
        for key, field in self.model.fields.items():
            if column_name(key, field) == name:
                return key, field
        return None

    def column(self, name: str) -> Column | None:
        """Return what the state says of a column."""
        found = self.field(name)
        if found is None or self.model is None:
            return None
        return column(self.context.state, self.model, found[0], found[1])

    def type_of(self, name: str) -> str | None:
        """Return a column's type as far as it is known; SQL's word is the last."""
        facts = self.context.history.sql
        if (self.name, name) in facts.types:
            return facts.types[self.name, name]  # type: ignore[no-any-return]
        known = self.column(name)
        return known.type if known is not None else None

    def is_not_null(self, name: str) -> bool:
        """Return whether a column is known to be NOT NULL."""
        facts = self.context.history.sql
        if (self.name, name) in facts.nullable:
            return not facts.nullable[self.name, name]
        found = self.field(name)
        return found is not None and not allows_null(found[1])

    def is_proven(self, name: str, without: frozenset[str] = frozenset()) -> bool:
        """Return whether a validated CHECK says that a column holds no NULL.

        Args:
            name: of the column.
            without: constraints that don't count, for they are dropped first.
        """
        for (table, constraint), proof in self.context.history.sql.proofs.items():
            counts = table == self.name and proof.valid and constraint not in without
            if counts and name in proof.columns:
                return True
        found = self.field(name)
        if found is None or self.model is None:
            return False
        unvalidated = self.context.history.not_valid
        return any(
            isinstance(constraint, models.CheckConstraint)
            and constraint.name not in without
            and (self.model.app_label, self.model.name_lower, constraint.name) not in unvalidated
            and proves_not_null(constraint.condition, found[0])
            for constraint in self.model.options.get("constraints", ())
        )

    def uniques(self) -> Iterator[frozenset[str]]:
        """Yield the sets of columns of which no two rows have the same."""
        yield from self.context.history.sql.uniques.get(self.name, ())
        if self.model is None:
            # Every table that Django makes has this one.
            yield frozenset({"id"})
            return
        for name, field in self.model.fields.items():
            found = column_name(name, field) if field.unique or field.primary_key else None
            if found is not None:
                yield frozenset({found})
        together = [tuple(names) for names in self.model.options.get("unique_together") or ()]
        for constraint in self.model.options.get("constraints", ()):
            if isinstance(constraint, models.UniqueConstraint) and constraint.condition is None:
                together.append(tuple(constraint.fields))
        for names in together:
            if names and (columns := self._columns(names)):
                yield columns
        if not any(field.primary_key for field in self.model.fields.values()):
            yield frozenset({"id"})

    def _columns(self, names: tuple[str, ...]) -> frozenset[str] | None:
        found = set()
        for name in names:
            field: Any = self.model.fields.get(name) if self.model is not None else None
            one = column_name(name, field) if field is not None else None
            if one is None:
                return None
            found.add(one)
        return frozenset(found)

    def foreign_key(self, constraint: str) -> str | None:
        """Return the table that a foreign key points to; ``""`` if only that it is one is known.

        None if the constraint isn't known to be a foreign key.
        """
        known = self.context.history.sql.keys.get((self.name, constraint))
        if known is not None:
            return str(known)
        for name, target in self.foreign_keys():
            if name == constraint:
                return target
        # What Django and PostgreSQL call foreign keys; the digest depends on the version.
        if "_fk_" in constraint or constraint.endswith(("_fk", "_fkey")):
            return ""
        return None

    def foreign_keys(self) -> Iterator[tuple[str, str]]:
        """Yield the name that Django gives each foreign key of the model, and its target."""
        if self.model is None:
            return
        editor: Any = postgres().SchemaEditorClass(postgres(), collect_sql=True)
        field: Any
        for name, field in self.model.fields.items():
            if not is_foreign_key(field) or not field.db_constraint:
                continue
            target = related_model(self.context.state, self.model, field)
            own = column_name(name, field)
            if target is None or own is None:
                continue
            pointed = target_field_name(target, field) or "id"
            other = (
                column_name(pointed, target.fields[pointed]) if pointed in target.fields else "id"
            )
            suffix = f"_fk_{table_name(target)}_{other}"
            yield editor._create_index_name(self.name, [own], suffix=suffix), table_name(target)

    def target_of(self, name: str) -> str | None:
        """Return the table to which a column's foreign key points, or None if it has none."""
        found = self.field(name)
        if found is None or self.model is None:
            return None
        field = found[1]
        if not is_foreign_key(field) or not field.db_constraint:
            return None
        target = related_model(self.context.state, self.model, field)
        return table_name(target) if target is not None else ""

    def referrers(self) -> list[str]:
        """Return the tables whose foreign keys point to this one."""
        if self.model is None:
            return []
        others = foreign_keys_to(self.context.state, self.model)
        return sorted({table_name(model) for model, _ in others} - {self.name})


def find_table(name: str, context: Any) -> Table:
    """Return the table of a name, whether a model has it or not."""
    model = owner = None
    for candidate in context.state.models.values():
        if candidate.options.get("proxy") or candidate.options.get("swappable") == "":
            continue
        if plain(table_name(candidate)) == name:
            model = candidate
            break
    else:
        owner = _many_to_many_owner(name, context)
    created = name in context.sql.created
    key = (model.app_label, model.name_lower) if model is not None else None
    if key is not None and key in context.created:
        created = True
    if owner is not None:
        created = created or _is_new_relation(name, owner, context)
    return Table(name, model, owner, created, context)


def plain(name: str) -> str:
    """Return a name without quotes and without the schema ``public``."""
    return name.replace('"', "").removeprefix("public.")


def _many_to_many_owner(name: str, context: Any) -> ModelState | None:
    found: ModelState | None = None
    for candidate in context.state.models.values():
        for key, field in candidate.fields.items():
            if has_own_table(field) and plain(many_to_many_table(candidate, key, field)) == name:
                found = candidate
    return found


def _is_new_relation(name: str, owner: ModelState, context: Any) -> bool:
    if (owner.app_label, owner.name_lower) in context.created:
        return True
    if owner.app_label != context.app_label:
        return False
    return any(
        has_own_table(field) and plain(many_to_many_table(owner, key, field)) == name
        for key, field in context.fields_added(owner.name_lower)
    )


def table_of_index(name: str, context: Any) -> str | None:
    """Return the table of an index that a model or earlier SQL names."""
    known = context.history.sql.indexes.get(name)
    if known is not None:
        return str(known)
    for model in context.state.models.values():
        for index in model.options.get("indexes", ()):
            if index.name == name:
                return plain(table_name(model))
        for constraint in model.options.get("constraints", ()):
            if constraint.name == name:
                return plain(table_name(model))
    # Django puts the table first into the names that it makes up.
    candidates = [plain(table_name(model)) for model in context.state.models.values()]
    fitting = [table for table in candidates if name.startswith(f"{table}_")]
    return max(fitting, key=len) if fitting else None


def removed_earlier(table: str, column_: str | None, context: Any) -> bool:
    """Return whether an earlier release took a table's model, or a column's field, out of use.

    The state before the migration doesn't have it then, and nothing in this file removes it.
    """
    from django.db.migrations import DeleteModel, RemoveField

    found = find_table(table, context)
    for operation in _with_states(context.migration.operations):
        if column_ is None and isinstance(operation, DeleteModel):
            return False
        if column_ is None or found.model is None or not isinstance(operation, RemoveField):
            continue
        if operation.model_name_lower == found.model.name_lower:
            return False
    if column_ is not None:
        return found.model is not None and found.field(column_) is None
    return not found.is_known and _is_forgotten(table, context)


def _is_forgotten(table: str, context: Any) -> bool:
    """Return whether a model of an earlier migration had the table."""
    for key, migration in context.files.items():
        if not context.depends_on(key):
            continue
        for operation in migration.operations:
            for inside in _with_states([operation]):
                if isinstance(inside, CreateModel):
                    state = ModelState(key[0], inside.name, [], dict(inside.options))
                    if plain(table_name(state)) == table:
                        return True
    return False


def _with_states(operations: Any) -> Iterator[Any]:
    for operation in operations:
        yield operation
        yield from _with_states(getattr(operation, "state_operations", None) or ())
        yield from _with_states(getattr(operation, "database_operations", None) or ())
