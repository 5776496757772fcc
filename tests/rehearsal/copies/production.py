"""A small database whose tables refer to each other in every way there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.rehearsal.copies import OpenCopy, clean_up_crashed, open_copy
from django_safemigrations.rehearsal_settings import RehearsalSettings
from tests.kit.databases import admin, connect
from tests.kit.schema import Fingerprint, fingerprint, rows

SCHEMA = """
CREATE TABLE django_migrations (id serial PRIMARY KEY, app text, name text);
CREATE TABLE kind (id serial PRIMARY KEY, parent_id int REFERENCES kind, name text UNIQUE);
CREATE TABLE team (id bigint PRIMARY KEY, lead_id bigint);
CREATE TABLE person (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    boss_id bigint REFERENCES person, team_id bigint REFERENCES team, born date
);
ALTER TABLE team ADD FOREIGN KEY (lead_id) REFERENCES person DEFERRABLE INITIALLY DEFERRED;
CREATE SCHEMA "Side";
CREATE TABLE "Side"."Odd ""name" (a numeric, b text, note text, PRIMARY KEY (a, b));
CREATE TABLE visit (
    id int, at date, kind_id int NOT NULL REFERENCES kind, PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE TABLE visit_old (at date NOT NULL, kind_id int NOT NULL, id int NOT NULL);
ALTER TABLE visit ATTACH PARTITION visit_old FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE visit_new PARTITION OF visit FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
CREATE TABLE item (
    id serial PRIMARY KEY, a numeric, b text, visit_id int, visit_at date,
    doubled numeric GENERATED ALWAYS AS (a * 2) STORED,
    FOREIGN KEY (a, b) REFERENCES "Side"."Odd ""name",
    FOREIGN KEY (visit_id, visit_at) REFERENCES visit
);
CREATE TABLE log (at timestamptz, line text);
CREATE TABLE lost (id serial PRIMARY KEY, kind_id int);
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.line := upper(NEW.line); RETURN NEW; END $$;
CREATE TRIGGER shout BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION shout();
CREATE VIEW people WITH (security_invoker = true) AS SELECT id, born FROM person;

INSERT INTO django_migrations (app, name) SELECT 'shop', n::text FROM generate_series(1, 40) n;
INSERT INTO kind (parent_id, name) SELECT nullif(n - 1, 0), 'kind ' || n
    FROM generate_series(1, 60) n;
INSERT INTO person (boss_id, born)
    SELECT nullif(n / 3, 0), date '1970-01-01' + n FROM generate_series(1, 900) n;
INSERT INTO team SELECT n, 900 - n FROM generate_series(1, 90) n;
UPDATE person SET team_id = 1 + id % 90;
INSERT INTO "Side"."Odd ""name" SELECT n / 100.0, E'b\\t' || n, 'note' FROM generate_series(1, 300) n;
INSERT INTO visit SELECT n, date '2025-01-01' + n, 1 + n % 60 FROM generate_series(1, 700) n;
INSERT INTO item (a, b, visit_id, visit_at)
    SELECT n / 100.0, E'b\\t' || n, n, date '2025-01-01' + n FROM generate_series(1, 300) n;
INSERT INTO item (a, b) VALUES (NULL, 'half a key'), (4.50, NULL);
INSERT INTO log SELECT timestamptz '2026-01-01' + n * interval '1 s', 'line ' || n
    FROM generate_series(1, 400) n;
INSERT INTO lost (kind_id) VALUES (1), (9999);
ALTER TABLE lost ADD FOREIGN KEY (kind_id) REFERENCES kind NOT VALID;
ANALYZE;
"""

# Other tests make copies at the same time.
COPIES = """
SELECT datname FROM pg_database WHERE datname LIKE 'dsm_copy_%%'
 AND shobj_description(oid, 'pg_database') LIKE '%%' || %s || ' on %%'
"""


@dataclass
class Production:
    """A database that is copied.

    Attributes:
        connection: Django's.
        said: what open_copy said.
    """

    connection: BaseDatabaseWrapper
    said: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.connection.settings_dict["NAME"])

    @contextmanager
    def copy(
        self, progress: Callable[[str], None] | None = None, **settings: Any
    ) -> Iterator[OpenCopy]:
        """Open a copy; on this server, unless the settings say otherwise.

        Args:
            progress: told every line that the programs write, as if they took long.
            settings: of the rehearsal.
        """
        given = RehearsalSettings(**{"server": "same", **settings})
        clock = count(step=10).__next__
        said = progress or self.said.append
        with open_copy(self.connection, given, progress=said, monotonic=clock) as copy:
            yield copy

    def clean_up(self, **settings: Any) -> tuple[str, ...]:
        given = RehearsalSettings(**{"server": "same", **settings})
        return clean_up_crashed(self.connection, given, progress=self.said.append)

    def copies(self) -> set[str]:
        """Return the names of its copies on the test server."""
        return {row[0] for row in admin().execute(COPIES, [self.name])}

    def content(self) -> tuple[Fingerprint, dict[str, str]]:
        """Return every object and every row."""
        with connect(self.name) as session:
            return fingerprint(session), rows(session)

    def run(self, sql: str) -> None:
        with connect(self.name) as session:
            session.execute(sql)


@contextmanager
def session_in(copy: OpenCopy) -> Iterator[psycopg.Connection[Any]]:
    """Open a session in a copy."""
    entry = copy.database
    with psycopg.connect(
        dbname=entry["NAME"],
        user=entry["USER"],
        password=entry["PASSWORD"],
        host=entry["HOST"],
        port=entry["PORT"],
        autocommit=True,
    ) as session:
        yield session


def left_in(place: Path) -> list[str]:
    """Return what is left in a directory."""
    return sorted(path.name for path in place.iterdir())
