"""The cases: every variant of the changes that makemigrations rewrites."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from tests.invariants.addition_cases import ADDITION_CASES
from tests.invariants.addition_relation_cases import ADDITION_RELATION_CASES
from tests.invariants.constraint_cases import CONSTRAINT_CASES
from tests.invariants.index_cases import INDEX_CASES
from tests.invariants.key_cases import KEY_CASES
from tests.invariants.not_null_cases import NOT_NULL_CASES, REFUSED_CASES
from tests.invariants.relation_cases import RELATION_CASES
from tests.invariants.removal_cases import REMOVAL_CASES
from tests.invariants.rename_by_hand_cases import BY_HAND_CASES
from tests.invariants.rename_cases import RENAME_CASES
from tests.invariants.rename_index_cases import RENAME_INDEX_CASES
from tests.invariants.rename_relation_cases import RENAME_RELATION_CASES
from tests.invariants.table_cases import TABLE_CASES
from tests.invariants.together_cases import TOGETHER_CASES
from tests.invariants.type_cases import TYPE_CASES
from tests.invariants.unique_cases import UNIQUE_CASES
from tests.kit.case import Case

CASES: list[Case] = [
    *ADDITION_CASES,
    *ADDITION_RELATION_CASES,
    *CONSTRAINT_CASES,
    *INDEX_CASES,
    *KEY_CASES,
    *NOT_NULL_CASES,
    *REMOVAL_CASES,
    *RELATION_CASES,
    *RENAME_CASES,
    *RENAME_INDEX_CASES,
    *RENAME_RELATION_CASES,
    *BY_HAND_CASES,
    *TABLE_CASES,
    *TOGETHER_CASES,
    *TYPE_CASES,
    *UNIQUE_CASES,
]

REFUSED: list[Case] = REFUSED_CASES
"""Cases whose data does not allow the change: the chain must fail, and say why."""

REPRESENTATIVE = frozenset(
    {
        "add: constant default",
        "add: volatile db_default",
        "add: function that PostgreSQL does not have",
        "add: positive int, nullable",
        "add: foreign key, nullable",
        "constraint: check added: comparison",
        "constraint: field unique",
        "constraint: unique added: one field",
        "constraint: unique_together becomes a constraint",
        "index: one column",
        "index: db_index on a varchar",
        "index: removed",
        "not null: int, answered 0",
        "not null: without a default",
        "not null: unmappable callable",
        "removal: char with a default",
        "removal: foreign key",
        "removal: model with foreign keys",
        "rename: int",
        "rename: char, unique",
        "rename: foreign key",
        "rename: unique_together",
        "rename: check constraint",
        "rename: two fields of one index",
        "table: model that a many-to-many field points to",
        "together: the five-finding edit",
        "wider key: one foreign key",
        "type: unique int",
        "type: varchar shrinks",
        "type: unique text to uuid, beside",
    }
)
"""One of each mechanism: quick runs take these through real traffic and the command."""

KILLED = frozenset(
    {
        "add: foreign key, answered with a key",
        "add: uuid4",
        "constraint: check added: comparison",
        "constraint: unique changed: one field more",
        "index: db_index on a varchar",
        "index: removed",
        "not null: int, answered 0",
        "not null: unmappable callable",
        "removal: char with a default",
        "rename: char, unique",
    }
)
"""Quick runs kill these after each of their changes."""

KILLED_ON_THE_WAY_BACK = frozenset(
    {
        "constraint: unique changed: one field more",
        "not null: int, answered 0",
        "rename: char, unique",
    }
)
"""And these on the way back, too."""


DIES_AGAIN_AND_AGAIN = frozenset(
    {
        "rename: foreign key",
        "table: model that a many-to-many field points to",
        "type: unique int",
        "type: unique text to uuid, beside",
        "wider key: one foreign key",
    }
)
"""Quick runs let these die whenever they have come one step further."""

NOT_KILLABLE = frozenset(
    {
        "add: many to many",
        "add: many to many to itself",
        "index: on a model of the same run",
        "together: rename, and a model added",
    }
)
"""Cases with a new model whose indexes or foreign keys Django adds at the end of the migration.

Django records such a migration in a transaction of its own, after the one that made the table:
killed in between, it can't be run again, with or without this package.
https://github.com/django/django/blob/stable/5.2.x/django/db/migrations/executor.py (apply_migration)
"""

NOT_KILLABLE_ON_THE_WAY_BACK = frozenset(
    {
        "add: nullable",
        "add: nullable, with a comment and a collation",
        "add: constant default, nullable",
        "add: db_default",
        "add: db_default now",
        "add: db_default and default",
        "add: foreign key without index and constraint",
        "add: foreign key to a model of the same run",
        "add: several fields and a model",
        "add: stored generated field",
        "add: virtual generated field",
        "constraint: exclusion added",
        "constraint: exclusion added: deferrable and partial",
        "constraint: exclusion removed",
        "together: rename, and a nullable field added",
    }
)
"""Cases with a step that stays as Django wrote it.

Django takes an undone migration out of its records after the COMMIT that undid it: killed in
between, it can't be undone again, with or without this package.
https://github.com/django/django/blob/stable/5.2.x/django/db/migrations/executor.py (unapply_migration)
"""


def among(names: Collection[str]) -> Callable[[Case], bool]:
    """Return a test for the names of cases; a name that no case has is an error."""
    unknown = set(names) - {case.name for case in CASES}
    assert not unknown, f"no such case: {sorted(unknown)}"
    return lambda case: case.name in names


def parameters(cases: Collection[Case], quick: Callable[[Case], bool]) -> list[Any]:
    """Return pytest parameters, marked `exhaustive` unless a quick run takes them."""
    return [
        pytest.param(case, id=case.slug, marks=[] if quick(case) else [pytest.mark.exhaustive])
        for case in cases
    ]


assert len({case.slug for case in CASES}) == len(CASES), "two cases of the same name"
