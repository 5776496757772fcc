"""AddColumn and what has to stand behind it, in files that were edited or written by hand."""

from __future__ import annotations

import pytest

from tests.lint.conftest import Project

OURS = (
    "import uuid\n"
    "from django.db.models.functions import Random\n"
    "from django_safemigrations.operations import AddColumn, BackfillNulls, Contract, "
    "DropColumnDefault, Expand, SetNotNull\n"
)
WHERE = '"order", "points"'
INTEGER = "models.IntegerField(default=0)"
UUID = "models.UUIDField(default=uuid.uuid4)"
RANDOM = "models.FloatField(db_default=Random())"


def added(field: str, *stages: str, container: str = "Expand") -> str:
    state = f"[migrations.AddField({WHERE}, {field})]"
    return f"{container}(state_operations={state}, database_operations=[{', '.join(stages)}]),"


@pytest.mark.parametrize(
    ("operation", "codes"),
    [
        (added(INTEGER, f"AddColumn({WHERE}, 0)"), []),
        (added(INTEGER, f"AddColumn({WHERE})"), ["DSM501"]),
        (added(UUID, f"AddColumn({WHERE}, uuid.uuid4)"), ["DSM510"]),
        (added(RANDOM, f"AddColumn({WHERE})"), ["DSM510"]),
        (added(UUID, f"AddColumn({WHERE}, uuid.uuid4, True)", f"SetNotNull({WHERE})"), []),
        (added(RANDOM, f"AddColumn({WHERE}, empty=True)", f"SetNotNull({WHERE})"), []),
        (added(UUID, f"AddColumn({WHERE}, empty=True)", f"SetNotNull({WHERE})"), ["DSM202"]),
        (added("models.IntegerField(null=True)", f"AddColumn({WHERE})"), []),
    ],
)
def test_a_column_is_added_so_that_old_code_works_and_no_row_is_written_anew(
    project: Project, operation: str, codes: list[str]
) -> None:
    assert project.codes(operation, setup=OURS, atomic=False) == codes


def test_the_default_is_dropped_only_of_a_column_that_was_added_with_it(project: Project) -> None:
    drop = f"Contract(database_operations=[DropColumnDefault({WHERE}, 0)]),"
    assert project.codes(drop, setup=OURS, atomic=False) == ["DSM404"]
    project.operations(added(INTEGER, f"AddColumn({WHERE}, 0)"), setup=OURS, atomic=False)
    assert project.codes(drop, setup=OURS, atomic=False) == []
