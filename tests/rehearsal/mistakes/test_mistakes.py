"""Each plan with a mistake is refused with the reason, and passes when it is repaired."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections

from tests.command.project import Project
from tests.kit.databases import create_database, drop_database
from tests.rehearsal.mistakes.data_mistakes import DATA_MISTAKES
from tests.rehearsal.mistakes.mistake import Mistake
from tests.rehearsal.mistakes.schema_mistakes import SCHEMA_MISTAKES

MISTAKES = [*SCHEMA_MISTAKES, *DATA_MISTAKES]
QUICK = "a rewrite that is hidden in a function"


@pytest.fixture
def other() -> Iterator[None]:
    """A second database, under an alias of its own, with a table of the same name."""
    name = create_database()
    settings = connections.settings
    settings["other"] = {**settings["default"], "NAME": name}
    try:
        with connections["other"].cursor() as cursor:
            cursor.execute("CREATE TABLE store_item (id bigint, name text, total int)")
            cursor.execute("INSERT INTO store_item VALUES (1, 'a', 1)")
        yield
    finally:
        connections["other"].close()
        del connections["other"]
        del settings["other"]
        drop_database(name)


def test_there_are_twenty() -> None:
    assert len(MISTAKES) == 20
    assert len({mistake.slug for mistake in MISTAKES}) == 20


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(
            mistake,
            id=mistake.slug,
            marks=[] if mistake.name == QUICK else [pytest.mark.exhaustive],
        )
        for mistake in MISTAKES
    ],
)
@pytest.mark.usefixtures("other")
def test_a_mistake_is_refused_and_its_repair_passes(mistake: Mistake, ready: Project) -> None:
    ready.execute(
        "INSERT INTO store_item (name, total) SELECT 'item ' || n, n FROM generate_series(2, 200) n"
    )
    for statement in mistake.rows:
        ready.execute(statement)
    if mistake.start:
        mistake.write(ready, mistake.start)
        ready.begin()
    applied = ready.applied("store")

    for name in (names := mistake.write(ready, mistake.bad)):
        assert name not in applied
    result = ready.gathering("--phase", mistake.phase)
    assert result.code == 3, result.said
    said = " ".join(result.said.split())
    for reason in mistake.reasons:
        assert reason in said, result.said
    assert ready.applied("store") == applied

    for name in names:
        ready.remove("store", name)
    names = mistake.write(ready, mistake.good)
    result = ready.gathering("--phase", "expand")
    assert result.code in (0, 4), result.said
    result = ready.gathering("--phase", "contract")
    assert result.code == 0, result.said
    assert ready.applied("store") == [*applied, *names]
