"""Hazards of SQL that fails, or that changes the session and the transaction around it."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity

HAZARDS = (
    Hazard(
        code="DSM601",
        name="sql-not-parsed",
        title="PostgreSQL can't parse the SQL, so the migration fails",
        severity=Severity.ERROR,
        why=(
            "The SQL of a `RunSQL` is read with PostgreSQL's own grammar (that of version 18). What "
            "it refuses, the server refuses when the migration runs, usually for the first time in "
            "production if it stands in a branch that tests don't take. A `%` is written `%%` only "
            "where parameters are given, and there has to be one parameter for each `%s`."
        ),
        lock="-",
        who_waits="Nobody; the migration fails.",
        way_out=(
            "Mend the statement. If it is right for an older PostgreSQL or an extension with a "
            "grammar of its own, say so: "
            "`# safemigrations: ignore DSM601 -- syntax of the extension`."
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL(
                    "ALTER TABLE store_order ADD COLUM note text",
                    reverse_sql=migrations.RunSQL.noop,
                ),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.RunSQL(
                    "ALTER TABLE store_order ADD COLUMN note text",
                    reverse_sql="ALTER TABLE store_order DROP COLUMN note",
                ),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM608",
        name="not-in-a-transaction",
        title="The statement is refused inside a transaction, and here it would be in one",
        severity=Severity.ERROR,
        why=(
            "`VACUUM`, `CLUSTER` of all tables, `REINDEX DATABASE`, `CREATE DATABASE`, `ALTER SYSTEM` "
            "and a few more can't run inside a transaction block. Django wraps a migration in one "
            "unless it says `atomic = False`, and PostgreSQL itself makes one of several statements "
            "that come in one string."
        ),
        lock="-",
        who_waits="Nobody: the migration fails and is rolled back.",
        way_out=(
            "Give the migration `atomic = False`, and the statement a string of its own:\n\n"
            "```python\n"
            "class Migration(migrations.Migration):\n"
            "    atomic = False\n"
            "    operations = [\n"
            '        migrations.RunSQL(["VACUUM store_order"], migrations.RunSQL.noop),\n'
            "    ]\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL("VACUUM store_order", migrations.RunSQL.noop),
            ]
            """
        ),
        good=Example(
            """
            atomic = False
            operations = [
                migrations.RunSQL("VACUUM store_order", migrations.RunSQL.noop),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM615",
        name="enum-value-used-too-early",
        title="A value is added to an enumeration and used in the same transaction",
        severity=Severity.ERROR,
        why=(
            "`ALTER TYPE … ADD VALUE` takes no lock on any table, but the value can't be used before "
            "the transaction that added it is committed: "
            "`unsafe use of new value of enum type`."
        ),
        lock="-",
        who_waits="Nobody: the migration fails and is rolled back.",
        way_out=(
            "Add the value in a migration of its own, before the one that uses it:\n\n"
            "```python\n"
            "migrations.RunSQL(\"ALTER TYPE colour ADD VALUE IF NOT EXISTS 'blue'\", "
            "migrations.RunSQL.noop)\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL(
                    [
                        "ALTER TYPE colour ADD VALUE 'blue'",
                        "INSERT INTO store_paint (colour) VALUES ('blue')",
                    ],
                    migrations.RunSQL.noop,
                ),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.RunSQL(
                    "ALTER TYPE colour ADD VALUE IF NOT EXISTS 'blue'", migrations.RunSQL.noop
                ),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM616",
        name="transaction-control",
        title="BEGIN, COMMIT or ROLLBACK takes the transaction out of Django's hands",
        severity=Severity.ERROR,
        why=(
            "In an atomic migration `COMMIT` ends the transaction that Django has begun: what comes "
            "after it runs without one, and a failure leaves half of the migration behind, which "
            "can't be run again. `BEGIN` only warns there. In a migration with `atomic = False`, a "
            "`BEGIN` that nothing ends keeps its locks until the connection is closed, and takes "
            "Django's own record of the migration with it."
        ),
        lock="Whatever the statements took, for longer than meant",
        who_waits="Everybody who waits for those locks.",
        way_out=(
            "Leave transactions to Django: what belongs together goes into one atomic migration, "
            "what doesn't into several. In a migration with `atomic = False`, `BEGIN` and `COMMIT` "
            "in one string are fine:\n\n"
            "```python\n"
            "migrations.RunSQL(\n"
            "    \"BEGIN; SET LOCAL lock_timeout = '50ms'; ALTER TABLE …; COMMIT\",\n"
            "    migrations.RunSQL.noop,\n"
            ")\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL(
                    "ALTER TABLE store_order ADD COLUMN note text; COMMIT;",
                    "ALTER TABLE store_order DROP COLUMN note",
                ),
            ]
            """
        ),
        good=Example(
            """
            atomic = False
            operations = [
                migrations.RunSQL(
                    "BEGIN; ALTER TABLE store_order ADD COLUMN note text; COMMIT;",
                    "ALTER TABLE store_order DROP COLUMN note",
                ),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM617",
        name="setting-left-behind",
        title="A session setting outlives the migration, or never takes effect",
        severity=Severity.WARNING,
        why=(
            "`SET` without `LOCAL` lasts as long as the connection: a `lock_timeout`, "
            "`statement_timeout`, `search_path` or `role` is then in force for every migration that "
            "follows in the same run, and is not there when that one is run alone. `SET LOCAL` "
            "outside of a transaction does nothing but warn."
        ),
        lock="-",
        who_waits="Nobody; later migrations fail, wait or write elsewhere.",
        way_out=(
            "In an atomic migration, `SET LOCAL` ends with its transaction:\n\n"
            "```python\n"
            "migrations.RunSQL(\"SET LOCAL statement_timeout = '5min'\", migrations.RunSQL.noop)\n"
            "```\n\n"
            "With `atomic = False`, `SET` it and `RESET` it at the end. `safemigrate` bounds lock "
            "waits by itself: `SET lock_timeout` isn't needed."
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL("SET lock_timeout = '2s'", migrations.RunSQL.noop),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.RunSQL("SET LOCAL lock_timeout = '2s'", migrations.RunSQL.noop),
            ]
            """
        ),
    ),
)
