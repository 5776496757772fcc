"""What becomes of each operation and of the data behind it when it is taken back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.special import RunPython, RunSQL

NOTHING = "has nothing to undo"
VIOLATED = "rows written meanwhile that violate it are counted and named; they stay as they are"


@dataclass(frozen=True)
class Fate:
    """What taking an operation back does.

    Attributes:
        undo: what the way back does.
        meanwhile: what becomes of data that was written since the operation ran.
        loses: whether the way back takes data away that nothing else holds.
        gone: what the way forwards takes away for good; the way back can't bring it back.
        keepable: whether KEEP_DROPPED keeps what is gone for some time.
        stuck: whether there is no way back at all.
    """

    undo: str
    meanwhile: str = ""
    loses: bool = False
    gone: str = ""
    keepable: bool = False
    stuck: bool = False


def fate_of(operation: Operation) -> Fate:
    """Return what taking one operation back does; a container's parts are asked one by one.

    Source: the section "Reversal" of each operation in docs/reference/operations.md; of Django's
    own, their ``database_backwards``.
    """
    if not operation.reversible:
        return Fate(f"can't be undone: {operation.describe()}", stuck=True)
    for kind in type(operation).__mro__:
        found = FATES.get(kind.__name__)
        if found is not None:
            return found(operation)
    return Fate(
        f"undoes by its own way back: {operation.describe()}",
        "what its own way back does with it",
    )


def _field(operation: Any) -> str:
    return f"{operation.model_name}.{operation.name}"


def _says(undo: str, meanwhile: str = "", **more: Any) -> Callable[[Any], Fate]:
    """Return a fate whose texts may name the field, the model and what the operation does."""

    def fate(operation: Any) -> Fate:
        names = {
            "field": f"{getattr(operation, 'model_name', '')}.{getattr(operation, 'name', '')}",
            "name": getattr(operation, "name", ""),
            "model": getattr(operation, "model_name", getattr(operation, "name", "")),
            "what": operation.describe(),
        }
        texts = {key: value for key, value in more.items() if isinstance(value, str)}
        return Fate(
            undo.format(**names),
            meanwhile.format(**names),
            **{**more, **{key: text.format(**names) for key, text in texts.items()}},
        )

    return fate


def _nothing(operation: Any) -> Fate:
    return Fate(NOTHING)


def _add_field(operation: Any) -> Fate:
    if getattr(operation.field, "many_to_many", False):
        return Fate(
            f"drops the table of {_field(operation)}",
            f"pairs written into {_field(operation)} are lost",
            loses=True,
        )
    if getattr(operation.field, "generated", False):
        return Fate(f"drops the generated column of {_field(operation)}")
    return Fate(
        f"drops the column of {_field(operation)}",
        f"values written into {_field(operation)} are lost",
        loses=True,
    )


def _remove_field(operation: Any) -> Fate:
    return Fate(
        f"brings {_field(operation)} back, empty or with its default",
        f"rows written meanwhile get the default of {_field(operation)}, or NULL",
        gone=f"the values of {_field(operation)}",
        keepable=True,
    )


def _renamed(operation: Any) -> Fate:
    return Fate("gives the old name back", "is kept")


def _run_sql(operation: RunSQL) -> Fate:
    if operation.reverse_sql == RunSQL.noop:
        return Fate("does nothing, as its reverse_sql says", "stays as it is")
    return Fate("executes its reverse_sql", "what its reverse_sql does with it")


def _run_python(operation: RunPython) -> Fate:
    if operation.reverse_code is RunPython.noop:
        return Fate("does nothing, as its reverse_code says", "stays as it is")
    name = getattr(operation.reverse_code, "__name__", "reverse_code")
    return Fate(f"calls {name}", f"what {name} does with it")


def _in_batches(operation: Any) -> Fate:
    deletes = type(operation.change).__name__ == "DeleteRows"
    gone = f"the rows that it deletes from {operation.model_name}" if deletes else ""
    if operation.undo is None:
        return Fate("does nothing, as its backwards says", "stays as it is", gone=gone)
    return Fate(
        "changes rows in batches, as its backwards says", "as its backwards says", gone=gone
    )


def _synced(operation: Any) -> Fate:
    return Fate(
        f"drops the second columns: {operation.listed}",
        "is kept: the trigger wrote it into the old columns too, and a count proves it first",
    )


def _desynced(operation: Any) -> Fate:
    return Fate(
        f"adds the old columns again, in step and filled in batches: {operation.listed}",
        "is copied into the old columns",
    )


def _key(operation: Any) -> Fate:
    return Fate(
        f"swaps the old columns in again: {operation.listed}",
        "is kept; keys past the range of the old type make it refuse before anything is changed",
    )


DROPPED = _says("drops it: {what}", "is kept")
NOT_VALID = _says("adds it again and validates it: {what}", VIOLATED)
BUILT = _says("builds it again without blocking: {what}", "is kept")

FATES: dict[str, Callable[[Any], Fate]] = {
    # Django's
    "CreateModel": _says("drops the table of {name}", "rows of {name} are lost", loses=True),
    "DeleteModel": _says(
        "creates the table of {name} again, empty",
        gone="the rows of {name}",
        keepable=True,
    ),
    "RenameModel": _renamed,
    "RenameField": _renamed,
    "RenameIndex": _renamed,
    "AlterModelTable": _renamed,
    "AddField": _add_field,
    "RemoveField": _remove_field,
    "AlterField": _says(
        "changes {field} back, as Django does",
        "is converted; values that do not fit what {field} was make it fail, and nothing is lost",
    ),
    "AddIndex": DROPPED,
    "RemoveIndex": _says("builds it again: {what}", "is kept"),
    "AddConstraint": DROPPED,
    "RemoveConstraint": _says(
        "adds it again: {what}", "rows written meanwhile that violate it make it fail"
    ),
    "AlterTogetherOptionOperation": _says(
        "puts the earlier constraints back: {what}",
        "rows written meanwhile that violate them make it fail",
    ),
    "AlterOrderWithRespectTo": _says(
        "drops or adds the column _order of {name}", "the order is lost", loses=True
    ),
    "AlterConstraint": _nothing,
    "AlterModelTableComment": _says("sets the earlier comment"),
    "ModelOptionOperation": _nothing,
    "AlterModelOptions": _nothing,
    "AlterModelManagers": _nothing,
    "RunSQL": _run_sql,
    "RunPython": _run_python,
    "CreateExtension": _says("drops the extension: {what}", "is kept"),
    "ValidateConstraint": _nothing,
    # Indexes and constraints in stages
    "CreateIndexConcurrently": _says("drops it concurrently: {what}", "is kept"),
    "CreateFieldIndexesConcurrently": _says("drops them concurrently: {what}", "is kept"),
    "DropIndexConcurrently": BUILT,
    "DropFieldIndexesConcurrently": BUILT,
    "AlterFieldIndexesConcurrently": BUILT,
    "AddFieldUnique": DROPPED,
    "AddUniqueTogether": DROPPED,
    "AddUniqueConstraint": DROPPED,
    "AddFieldCheck": DROPPED,
    "AddCheckNotValid": DROPPED,
    "AddForeignKey": DROPPED,
    "ValidateCheck": _nothing,
    "ValidateFieldCheck": _nothing,
    "ValidateForeignKey": _nothing,
    "DropFieldUnique": _says(
        "makes it unique again: {what}", "duplicates written meanwhile make it refuse"
    ),
    "DropUniqueTogether": _says(
        "makes them unique again: {what}", "duplicates written meanwhile make it refuse"
    ),
    "DropConstraint": NOT_VALID,
    "DropFieldCheck": NOT_VALID,
    "DropForeignKey": NOT_VALID,
    "ReplaceForeignKey": _says("puts the old one back: {what}", VIOLATED),
    "ReplaceUniqueConstraint": _says(
        "puts the old one back: {what}", "duplicates written meanwhile make it refuse"
    ),
    "RenameConstraint": _renamed,
    # Columns
    "AddColumn": _says(
        "drops the column of {field}", "values written into {field} are lost", loses=True
    ),
    "DropColumnDefault": _says("sets the default of {field} again", "is kept"),
    "AlterColumnDefault": _says("sets the earlier default of {field}", "is kept"),
    "SetColumnComment": _says("sets the earlier comment"),
    "DropNotNull": _says(
        "makes {field} NOT NULL again, in stages", "NULLs written meanwhile make it refuse"
    ),
    "FillNullsOnWrite": _says("drops the trigger that fills {field}", "is kept"),
    "StopFillingNulls": _says("installs the trigger that fills {field} again", "is kept"),
    "BackfillNulls": _says(
        "leaves filled rows filled: nothing tells them from others any more", "is kept"
    ),
    "SetNotNull": _says("drops NOT NULL of {field}", "is kept"),
    "RelaxColumn": _says(
        "makes {field} NOT NULL again, in stages, and validates its foreign key",
        "rows written without {field} get its default in batches; without one they make it refuse",
    ),
    "DropColumn": _says(
        "adds the column of {field} again, with its default or NULL",
        "rows written meanwhile get the default of {field}, or NULL",
        gone="the values of {field}",
        keepable=True,
    ),
    "WidenColumns": _says(
        "changes the types back, which reads and writes the tables under a lock: {what}",
        "values that are too long make it fail, and nothing is lost",
    ),
    # Two columns kept in step
    "AddSyncedColumns": _synced,
    "BackfillSyncedColumns": _nothing,
    "CopyIndexes": _nothing,
    "CopyConstraints": _nothing,
    "DropSyncedColumns": _desynced,
    "AddShadowColumn": _says(
        "drops the second column of {field}",
        "is kept in the column that stays; values that do not fit the old type are named first, and "
        "make it refuse",
    ),
    "BackfillShadowColumn": _nothing,
    "CopyShadowIndexes": _nothing,
    "CopyShadowConstraints": _nothing,
    "SwapColumns": _says(
        "swaps the columns of {field} again",
        "is converted back; values that do not fit the old type are named, and make it refuse",
    ),
    "DropReplacedColumn": _says(
        "adds the old column of {field} again, converted and filled in batches",
        "is converted; values that do not fit the old type are named, and make it refuse",
    ),
    "AddKeyColumns": _says("drops the second columns of the key: {what}", "is kept"),
    "BackfillKeyColumns": _nothing,
    "CopyKeyIndexes": _nothing,
    "CopyKeyConstraints": _nothing,
    "SwapKeyColumns": _key,
    "DropKeyColumns": _says(
        "adds the old columns of the key again, in step and filled in batches: {what}",
        "is copied; keys past the range of the old type make it refuse",
    ),
    # Tables
    "RelaxTable": _says(
        "lets the foreign keys of {model} hold again",
        "rows that refer to what was deleted meanwhile are named, and make it refuse",
    ),
    "DropTable": _says(
        "creates the table of {model} again, empty", gone="the rows of {model}", keepable=True
    ),
    "RenameTableBehindView": _says("drops the view and gives the table its old name", "is kept"),
    "DropOldNameView": _says("creates the view under the old name again", "is kept"),
    "RenameForeignKeys": _renamed,
    "RenameContentType": _says(
        "gives the content type its old name",
        "permissions granted under the new name only are lost",
        loses=True,
    ),
    "MergeContentTypes": _says(
        "brings the permissions of the old name back; what was merged stays so", "is kept"
    ),
    "RunInBatches": _in_batches,
}
