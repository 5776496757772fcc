"""The operations that generated migrations are made of."""

from django_safemigrations.operations.additions import AddColumn, DropColumnDefault
from django_safemigrations.operations.attributes import (
    AlterColumnDefault,
    DropNotNull,
    SetColumnComment,
)
from django_safemigrations.operations.base import Contract, Expand, Stage
from django_safemigrations.operations.batches import RunInBatches
from django_safemigrations.operations.checks import (
    AddFieldCheck,
    DropFieldCheck,
    ValidateFieldCheck,
)
from django_safemigrations.operations.constraint_renames import RenameConstraint
from django_safemigrations.operations.constraints import (
    AddCheckNotValid,
    AddUniqueConstraint,
    DropConstraint,
    ReplaceUniqueConstraint,
    ValidateCheck,
)
from django_safemigrations.operations.content_types import MergeContentTypes, RenameContentType
from django_safemigrations.operations.field_indexes import AlterFieldIndexesConcurrently
from django_safemigrations.operations.foreign_keys import (
    AddForeignKey,
    DropForeignKey,
    ReplaceForeignKey,
    ValidateForeignKey,
)
from django_safemigrations.operations.indexes import (
    CreateFieldIndexesConcurrently,
    CreateIndexConcurrently,
    DropFieldIndexesConcurrently,
    DropIndexConcurrently,
)
from django_safemigrations.operations.keys import (
    AddKeyColumns,
    BackfillKeyColumns,
    CopyKeyConstraints,
    CopyKeyIndexes,
    DropKeyColumns,
    SwapKeyColumns,
)
from django_safemigrations.operations.not_null import (
    BackfillNulls,
    FillNullsOnWrite,
    SetNotNull,
    StopFillingNulls,
)
from django_safemigrations.operations.removals import DropColumn, RelaxColumn
from django_safemigrations.operations.renames import (
    AddSyncedColumns,
    BackfillSyncedColumns,
    CopyConstraints,
    CopyIndexes,
    DropSyncedColumns,
)
from django_safemigrations.operations.row_functions import row_function
from django_safemigrations.operations.row_statements import (
    BatchSQL,
    DeleteRows,
    InsertRows,
    UpdateRows,
)
from django_safemigrations.operations.shadows import (
    AddShadowColumn,
    BackfillShadowColumn,
    CopyShadowConstraints,
    CopyShadowIndexes,
)
from django_safemigrations.operations.table_removals import DropTable, RelaxTable
from django_safemigrations.operations.tables import (
    DropOldNameView,
    RenameForeignKeys,
    RenameTableBehindView,
)
from django_safemigrations.operations.types import DropReplacedColumn, SwapColumns, WidenColumns
from django_safemigrations.operations.uniques import (
    AddFieldUnique,
    AddUniqueTogether,
    DropFieldUnique,
    DropUniqueTogether,
)

__all__ = [
    "AddCheckNotValid",
    "AddColumn",
    "AddFieldCheck",
    "AddFieldUnique",
    "AddForeignKey",
    "AddKeyColumns",
    "AddShadowColumn",
    "AddSyncedColumns",
    "AddUniqueConstraint",
    "AddUniqueTogether",
    "AlterColumnDefault",
    "AlterFieldIndexesConcurrently",
    "BackfillKeyColumns",
    "BackfillNulls",
    "BackfillShadowColumn",
    "BackfillSyncedColumns",
    "BatchSQL",
    "Contract",
    "CopyConstraints",
    "CopyIndexes",
    "CopyKeyConstraints",
    "CopyKeyIndexes",
    "CopyShadowConstraints",
    "CopyShadowIndexes",
    "CreateFieldIndexesConcurrently",
    "CreateIndexConcurrently",
    "DeleteRows",
    "DropColumn",
    "DropColumnDefault",
    "DropConstraint",
    "DropFieldCheck",
    "DropFieldIndexesConcurrently",
    "DropFieldUnique",
    "DropForeignKey",
    "DropIndexConcurrently",
    "DropKeyColumns",
    "DropNotNull",
    "DropOldNameView",
    "DropReplacedColumn",
    "DropSyncedColumns",
    "DropTable",
    "DropUniqueTogether",
    "Expand",
    "FillNullsOnWrite",
    "InsertRows",
    "MergeContentTypes",
    "RelaxColumn",
    "RelaxTable",
    "RenameConstraint",
    "RenameContentType",
    "RenameForeignKeys",
    "RenameTableBehindView",
    "ReplaceForeignKey",
    "ReplaceUniqueConstraint",
    "RunInBatches",
    "SetColumnComment",
    "SetNotNull",
    "Stage",
    "StopFillingNulls",
    "SwapColumns",
    "SwapKeyColumns",
    "UpdateRows",
    "ValidateCheck",
    "ValidateFieldCheck",
    "ValidateForeignKey",
    "WidenColumns",
    "row_function",
]
