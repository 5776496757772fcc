"""A sample is small, and every foreign key in it leads somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.databases import admin, connect
from tests.kit.schema import diff, fingerprint, rows
from tests.rehearsal.copies.production import Production, session_in

pytestmark = pytest.mark.postgres_versions

ODD = '"Side"."Odd ""name"'


def test_a_sample_has_the_whole_schema_and_rows_whose_references_are_whole(
    production: Production, place: Path
) -> None:
    before = production.content()
    with production.copy(source="sample", sample_rows=10, directory=str(place)) as copy:
        with session_in(copy) as session, connect(production.name) as original:
            # Foreign keys were added last, so the server itself has checked them.
            assert diff(fingerprint(session), before[0]) == []
            # Trees and cycles are followed to their ends.
            assert session.execute(
                "SELECT count(*) FROM person p WHERE boss_id IS NOT NULL"
                " AND NOT EXISTS (SELECT FROM person b WHERE b.id = p.boss_id)"
            ).fetchone() == (0,)
            for key, (copied, _) in copy.rows.items():
                table = {'"Side"."Odd ""name"': ODD}.get(key, key)
                counted = f"SELECT count(*) FROM {table}"
                assert session.execute(counted).fetchone() == (copied,)
                # What was copied is what there is.
                every = f"SELECT to_jsonb(t)::text FROM {table} t"
                got = {row[0] for row in session.execute(every)}
                assert len(got) == copied
                assert got <= {row[0] for row in original.execute(every)}
        assert copy.facts.kind == "sample"
        assert 0 < copy.facts.sampled < 0.5
        assert copy.rows['"public"."log"'] == (10, 400)
        assert copy.rows['"public"."django_migrations"'] == (40, 40)
        copied, total = copy.rows['"public"."item"']
        assert copied == 10
        assert total == 302
        # At least the ten, and the parents of the ten.
        assert 10 <= copy.rows['"public"."visit"'][0] <= 20
        assert copy.rows['"public"."visit"'][1] == 700
        assert 10 <= copy.rows[ODD][0] <= 20
    assert production.content() == before


def test_sequences_go_on_where_they_were(production: Production, place: Path) -> None:
    with production.copy(source="sample", sample_rows=5, directory=str(place)) as copy:
        with session_in(copy) as session:
            added = "INSERT INTO {} DEFAULT VALUES RETURNING id"
            assert session.execute(added.format("person")).fetchone() == (901,)
            assert session.execute(added.format("item")).fetchone() == (303,)


@pytest.mark.exhaustive
def test_tables_can_be_copied_whole(production: Production, place: Path) -> None:
    whole = ("log", 'Side.Odd "name')
    with production.copy(
        source="sample", sample_rows=5, sample_whole=whole, directory=str(place)
    ) as copy:
        assert copy.rows['"public"."log"'] == (400, 400)
        assert copy.rows[ODD] == (300, 300)


@pytest.mark.exhaustive
def test_a_sample_that_is_larger_than_the_database_is_the_database(
    production: Production, place: Path
) -> None:
    content = production.content()[1]
    with production.copy(source="sample", sample_rows=10_000, directory=str(place)) as copy:
        with session_in(copy) as session:
            assert rows(session) == content
        assert copy.facts.sampled == 1.0


def test_a_table_whose_statistics_are_wrong_is_sampled_all_the_same(
    production: Production, place: Path
) -> None:
    production.run("DELETE FROM item; DELETE FROM visit")  # the planner still knows 700
    production.run(
        "CREATE TABLE fresh WITH (autovacuum_enabled = false) AS"
        " SELECT n FROM generate_series(1, 500) n"
    )  # and nothing of this
    with production.copy(source="sample", sample_rows=20, directory=str(place)) as copy:
        assert copy.rows['"public"."visit"'][0] == 0
        assert copy.rows['"public"."fresh"'] == (20, 500)


def test_keys_that_are_equal_without_looking_alike_lead_to_one_row(
    production: Production, place: Path
) -> None:
    production.run(
        "INSERT INTO item (a, b) SELECT 1.00, E'b\\t100';"
        "INSERT INTO item (a, b) SELECT 1.000, E'b\\t100'"
    )
    with production.copy(
        source="sample", sample_rows=1, sample_whole=("item",), directory=str(place)
    ) as copy:
        with session_in(copy) as session:
            assert session.execute(f"SELECT count(*) FROM {ODD} WHERE a = 1").fetchone() == (1,)


def test_a_template_is_cloned_and_stays(production: Production, template: str, place: Path) -> None:
    with production.copy(source="template", template=template, directory=str(place)) as copy:
        assert copy.facts.kind == "template"
        assert copy.database["NAME"] != template
        with session_in(copy) as session:
            assert rows(session) == production.content()[1]
    names = [row[0] for row in admin().execute("SELECT datname FROM pg_database")]
    assert template in names
    assert copy.database["NAME"] not in names
