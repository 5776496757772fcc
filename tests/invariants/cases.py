"""The cases: every variant of the changes that makemigrations rewrites."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from tests.invariants.index_cases import INDEX_CASES
from tests.invariants.not_null_cases import NOT_NULL_CASES, REFUSED_CASES
from tests.invariants.rename_by_hand_cases import BY_HAND_CASES
from tests.invariants.rename_cases import RENAME_CASES
from tests.invariants.rename_index_cases import RENAME_INDEX_CASES
from tests.invariants.rename_relation_cases import RENAME_RELATION_CASES
from tests.invariants.together_cases import TOGETHER_CASES
from tests.kit.case import Case

CASES: list[Case] = [
    *INDEX_CASES,
    *NOT_NULL_CASES,
    *RENAME_CASES,
    *RENAME_INDEX_CASES,
    *RENAME_RELATION_CASES,
    *BY_HAND_CASES,
    *TOGETHER_CASES,
]

REFUSED: list[Case] = REFUSED_CASES
"""Cases whose data does not allow the change: the chain must fail, and say why."""

REPRESENTATIVE = frozenset(
    {
        "index: one column",
        "index: db_index on a varchar",
        "index: removed",
        "not null: int, answered 0",
        "not null: without a default",
        "not null: unmappable callable",
        "rename: int",
        "rename: char, unique",
        "rename: foreign key",
        "rename: unique_together",
        "rename: check constraint",
        "rename: two fields of one index",
        "together: index, not null and rename of one table",
    }
)
"""One of each mechanism: quick runs take these through real traffic and the command."""

KILLED = frozenset(
    {
        "index: db_index on a varchar",
        "index: removed",
        "not null: int, answered 0",
        "not null: unmappable callable",
        "rename: char, unique",
        "rename: foreign key",
    }
)
"""Quick runs kill these after each of their changes."""

KILLED_ON_THE_WAY_BACK = frozenset({"not null: int, answered 0", "rename: char, unique"})
"""And these on the way back, too."""


NOT_KILLABLE = frozenset(
    {"index: on a model of the same run", "together: rename, and a model added"}
)
"""Cases with a new model whose indexes or foreign keys Django adds at the end of the migration.

Django records such a migration in a transaction of its own, after the one that made the table:
killed in between, it can't be run again, with or without this package.
https://github.com/django/django/blob/stable/5.2.x/django/db/migrations/executor.py (apply_migration)
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
