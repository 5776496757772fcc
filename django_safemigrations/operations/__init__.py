"""The operations that generated migrations are made of."""

from django_safemigrations.operations.base import Contract, Expand, Stage
from django_safemigrations.operations.indexes import (
    CreateFieldIndexesConcurrently,
    CreateIndexConcurrently,
    DropFieldIndexesConcurrently,
    DropIndexConcurrently,
)
from django_safemigrations.operations.not_null import (
    BackfillNulls,
    FillNullsOnWrite,
    SetNotNull,
    StopFillingNulls,
)
from django_safemigrations.operations.renames import (
    AddSyncedColumns,
    BackfillSyncedColumns,
    CopyConstraints,
    CopyIndexes,
    DropSyncedColumns,
)

__all__ = [
    "AddSyncedColumns",
    "BackfillNulls",
    "BackfillSyncedColumns",
    "Contract",
    "CopyConstraints",
    "CopyIndexes",
    "CreateFieldIndexesConcurrently",
    "CreateIndexConcurrently",
    "DropFieldIndexesConcurrently",
    "DropIndexConcurrently",
    "DropSyncedColumns",
    "Expand",
    "FillNullsOnWrite",
    "SetNotNull",
    "Stage",
    "StopFillingNulls",
]
