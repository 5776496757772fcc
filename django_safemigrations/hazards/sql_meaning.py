"""Hazards of SQL statements that change what other statements mean, or what they find."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity

HAZARDS = (
    Hazard(
        code="DSM603",
        name="cascade",
        title="CASCADE drops or empties what nobody has named",
        severity=Severity.WARNING,
        why=(
            "`CASCADE` also drops what depends on the object: views, foreign keys of other tables, "
            "functions, columns of a dropped type; `TRUNCATE … CASCADE` empties every table that "
            "refers to it. What that is depends on the database, not on the file, and each of them "
            "is locked by ACCESS EXCLUSIVE."
        ),
        lock="ACCESS EXCLUSIVE on everything that depends on it",
        who_waits="Statements on all of them; what uses them fails.",
        way_out=(
            "Leave `CASCADE` out: PostgreSQL then names what depends on the object. Drop that by "
            "name first:\n\n"
            "```sql\n"
            "DROP VIEW order_totals;\n"
            "DROP TYPE colour;\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL("DROP TYPE colour CASCADE", migrations.RunSQL.noop),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.RunSQL("DROP TYPE colour", migrations.RunSQL.noop),
            ]
            """
        ),
        remains="what depends on it is dropped",
    ),
    Hazard(
        code="DSM605",
        name="name-in-sql-changes",
        title="A type, label, function, schema or sequence that statements name is renamed",
        severity=Severity.ERROR,
        why=(
            "Old code still sends the old label of an enumeration, casts to the old type, calls the "
            "old function or reads from the old schema. PostgreSQL keeps no alias for any of them."
        ),
        lock="-, or ACCESS EXCLUSIVE on the type",
        who_waits="Nobody waits; statements of old code that use the old name fail.",
        way_out=(
            "Add the new one beside the old one, move the code over, and drop the old one in a later "
            "release:\n\n"
            "```sql\n"
            "ALTER TYPE colour ADD VALUE IF NOT EXISTS 'grey';\n"
            "```\n\n"
            "A function can be called by another one of the old name for a while."
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL(
                    "ALTER TYPE colour RENAME VALUE 'gray' TO 'grey'",
                    "ALTER TYPE colour RENAME VALUE 'grey' TO 'gray'",
                ),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.RunSQL(
                    "ALTER TYPE colour ADD VALUE IF NOT EXISTS 'grey'", migrations.RunSQL.noop
                ),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM611",
        name="trigger-or-rule",
        title="From now on a trigger or rule does something with the writes of old code",
        severity=Severity.WARNING,
        why=(
            "A trigger runs with every write to its table, a rule rewrites the statement: those of "
            "old code, of backfills and of other services included. A function that doesn't expect "
            "a row as old code writes it makes the write fail. `DISABLE TRIGGER` leaves out what "
            "the trigger did, foreign keys' own checks with `ALL`. Creating one takes SHARE ROW "
            "EXCLUSIVE for an instant."
        ),
        lock="SHARE ROW EXCLUSIVE (ACCESS EXCLUSIVE for a rule), for an instant",
        who_waits="Writes, for an instant; what they do changes.",
        way_out=(
            "Let the function take rows as old and new code write them, keep the transaction short, "
            "and say that somebody has looked:\n\n"
            "```python\n"
            "# safemigrations: ignore DSM611 -- only sets search_text, which old code never reads\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL(
                    "CREATE TRIGGER order_touch BEFORE UPDATE ON store_order "
                    "FOR EACH ROW EXECUTE FUNCTION order_touch()",
                    "DROP TRIGGER order_touch ON store_order",
                ),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                # safemigrations: ignore DSM611 -- only sets a column that old code never reads
                migrations.RunSQL(
                    "CREATE TRIGGER order_touch BEFORE UPDATE ON store_order "
                    "FOR EACH ROW EXECUTE FUNCTION order_touch()",
                    "DROP TRIGGER order_touch ON store_order",
                ),
            ]
            """
        ),
        remains="its writes do something else",
    ),
    Hazard(
        code="DSM612",
        name="row-level-security",
        title="From now on code sees only the rows that a policy allows",
        severity=Severity.WARNING,
        why=(
            "With row level security on, a role that isn't the table's owner (with `FORCE`, the "
            "owner, too) sees and writes only rows that a policy lets through, and none if there is "
            "no policy. Queries don't fail: they find nothing."
        ),
        lock="ACCESS EXCLUSIVE, for an instant",
        who_waits="Nobody waits; queries find fewer rows.",
        way_out=(
            "Create the policies first, in the same transaction, see that the application's role "
            "passes them, and say so:\n\n"
            "```python\n"
            "# safemigrations: ignore DSM612 -- the application connects as the owner\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL(
                    "ALTER TABLE store_order ENABLE ROW LEVEL SECURITY",
                    "ALTER TABLE store_order DISABLE ROW LEVEL SECURITY",
                ),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                # safemigrations: ignore DSM612 -- the application connects as the owner
                migrations.RunSQL(
                    "ALTER TABLE store_order ENABLE ROW LEVEL SECURITY",
                    "ALTER TABLE store_order DISABLE ROW LEVEL SECURITY",
                ),
            ]
            """
        ),
        remains="its rows are hidden",
    ),
    Hazard(
        code="DSM618",
        name="json-has-no-equality",
        title="A column of type json makes SELECT DISTINCT on its table fail",
        severity=Severity.WARNING,
        why=(
            "The type `json` has no equality operator. `SELECT DISTINCT`, `GROUP BY` and `UNION` "
            "over all columns fail with it: `.distinct()` and the joins of the admin's searches, in "
            "code that never heard of the column. `jsonb`, which Django's `JSONField` is, has one."
        ),
        lock="-",
        who_waits="Nobody waits; queries with DISTINCT fail.",
        way_out=(
            '```python\nmigrations.RunSQL("ALTER TABLE store_order ADD COLUMN data jsonb", "")\n```'
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL(
                    "ALTER TABLE store_order ADD COLUMN data json",
                    "ALTER TABLE store_order DROP COLUMN data",
                ),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.RunSQL(
                    "ALTER TABLE store_order ADD COLUMN data jsonb",
                    "ALTER TABLE store_order DROP COLUMN data",
                ),
            ]
            """
        ),
        remains="queries with DISTINCT fail",
    ),
    Hazard(
        code="DSM619",
        name="short-key",
        title="The new table's primary key runs out of numbers",
        severity=Severity.WARNING,
        why=(
            "`serial` and `integer` keys end at 2,147,483,647, and every INSERT fails there. A wider "
            "key then rewrites the table, and every table that refers to it. Sequences also lose "
            "numbers to rollbacks and conflicts, so it comes sooner than the count of rows says."
        ),
        lock="-",
        who_waits="Nobody today; every INSERT fails when it ends.",
        way_out=(
            "```sql\n"
            "CREATE TABLE store_event (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY);\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL(
                    "CREATE TABLE store_event (id serial PRIMARY KEY)", "DROP TABLE store_event"
                ),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.RunSQL(
                    "CREATE TABLE store_event "
                    "(id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY)",
                    "DROP TABLE store_event",
                ),
            ]
            """
        ),
    ),
)
