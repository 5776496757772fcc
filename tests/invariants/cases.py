"""The cases: every variant of the changes that makemigrations rewrites."""

from __future__ import annotations

from tests.invariants.index_cases import INDEX_CASES
from tests.invariants.not_null_cases import NOT_NULL_CASES, REFUSED_CASES
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
"""One of each mechanism: these go through real traffic and through every kill in CI."""

names = [case.name for case in CASES]
assert len({case.slug for case in CASES}) == len(names), "two cases of the same name"
assert set(names) >= REPRESENTATIVE, REPRESENTATIVE - set(names)
