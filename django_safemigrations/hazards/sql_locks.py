"""Hazards of SQL statements that Django has no operation for, by the locks that they take."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity, Work

FOREIGN_KEY = """
operations = [
    migrations.RunSQL(
        "ALTER TABLE store_order ADD COLUMN tag_id bigint; "
        "ALTER TABLE store_order ADD CONSTRAINT order_tag_fkey FOREIGN KEY (tag_id) "
        "REFERENCES store_tag NOT VALID",
        "ALTER TABLE store_order DROP COLUMN tag_id",
    ),
]
"""

HAZARDS = (
    Hazard(
        code="DSM602",
        name="foreign-key-drop-locks-both",
        title="Dropping a foreign key locks the referenced table, too",
        severity=Severity.WARNING,
        why=(
            "`DROP CONSTRAINT` of a foreign key removes triggers from both tables, and takes ACCESS "
            "EXCLUSIVE on both until the transaction ends. It is done in an instant, but has to get "
            "two locks at once, and the referenced table is often the busiest one."
        ),
        lock="ACCESS EXCLUSIVE on both tables, for an instant",
        who_waits="Every statement on both tables while it waits for the running ones.",
        way_out=(
            "Keep it alone in a short transaction, and run it by `safemigrate`, which waits for "
            "locks in a bounded way and tries again. Locking the busier table first spares the "
            "other one the wait:\n\n"
            "```python\n"
            "migrations.RunSQL(\n"
            "    [\n"
            '        "LOCK TABLE store_tag IN ACCESS EXCLUSIVE MODE",\n'
            '        "ALTER TABLE store_order DROP CONSTRAINT order_tag_fkey",\n'
            "    ],\n"
            "    migrations.RunSQL.noop,\n"
            ")\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL(
                    "ALTER TABLE store_order DROP CONSTRAINT order_tag_fkey",
                    migrations.RunSQL.noop,
                ),
            ]
            """,
            before=FOREIGN_KEY,
        ),
        good=Example(
            """
            operations = [
                # safemigrations: ignore DSM602 -- alone in its transaction, both tables are quiet
                migrations.RunSQL(
                    "ALTER TABLE store_order DROP CONSTRAINT order_tag_fkey",
                    migrations.RunSQL.noop,
                ),
            ]
            """,
            before=FOREIGN_KEY,
        ),
        remains="both tables are locked",
    ),
    Hazard(
        code="DSM604",
        name="truncate",
        title="TRUNCATE empties a table that is in use, while nobody can use it",
        severity=Severity.ERROR,
        why=(
            "`TRUNCATE` takes ACCESS EXCLUSIVE and puts an empty file in the table's place. Old code "
            "finds nothing from then on, and a transaction that began before sees the table empty, "
            "too: it isn't safe under MVCC."
        ),
        lock="ACCESS EXCLUSIVE, until the transaction ends",
        who_waits="Every statement on the table, reads included; the rows are gone.",
        way_out=(
            "Delete what nothing needs in batches:\n\n"
            "```python\n"
            "keys = list(Order.objects.filter(pk__gt=last).order_by('pk').values_list('pk', "
            "flat=True)[:1000])\n"
            "Order.objects.filter(pk__in=keys).delete()\n"
            "```\n\n"
            "or stop using the table first, and empty it in a `Contract`."
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL("TRUNCATE store_order_tags", migrations.RunSQL.noop),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.RunSQL(
                    "DELETE FROM store_order_tags WHERE id IN (1, 2, 3)", migrations.RunSQL.noop
                ),
            ]
            """
        ),
        remains="its rows are gone",
    ),
    Hazard(
        code="DSM606",
        name="table-rewritten-in-place",
        title="The statement writes the whole table anew while nobody can use it",
        severity=Severity.ERROR,
        why=(
            "`VACUUM FULL`, `CLUSTER`, `SET TABLESPACE`, `SET LOGGED`, `SET UNLOGGED` and `SET "
            "ACCESS METHOD` write a second copy of the table, and of its indexes, under ACCESS "
            "EXCLUSIVE. There has to be room on the disk for both."
        ),
        lock="ACCESS EXCLUSIVE, for as long as the copy takes",
        who_waits="Every statement on the table, reads included.",
        way_out=(
            "Do it outside of migrations, with pg_repack or pg_squeeze, which work beside the "
            "traffic, or in a maintenance window. Plain `VACUUM` blocks nobody, and is what most "
            "tables need:\n\n"
            "```python\n"
            "class Migration(migrations.Migration):\n"
            "    atomic = False\n"
            '    operations = [migrations.RunSQL("VACUUM store_order", migrations.RunSQL.noop)]\n'
            "```"
        ),
        bad=Example(
            """
            atomic = False
            operations = [
                migrations.RunSQL("VACUUM FULL store_order", migrations.RunSQL.noop),
            ]
            """
        ),
        good=Example(
            """
            atomic = False
            operations = [
                migrations.RunSQL("VACUUM (ANALYZE) store_order", migrations.RunSQL.noop),
            ]
            """
        ),
        work=Work.REWRITE,
    ),
    Hazard(
        code="DSM607",
        name="reindex-blocks",
        title="REINDEX keeps writers waiting, and every query that is planned",
        severity=Severity.ERROR,
        why=(
            "`REINDEX` without `CONCURRENTLY` takes SHARE on the table and ACCESS EXCLUSIVE on the "
            "index. Writes wait until it is built, and so does nearly every SELECT, for the planner "
            "looks at all indexes of a table."
        ),
        lock="SHARE on the table, ACCESS EXCLUSIVE on the index",
        who_waits="Every write to the table, and every query that has to be planned.",
        way_out=(
            "```python\n"
            "class Migration(migrations.Migration):\n"
            "    atomic = False\n"
            "    operations = [\n"
            "        migrations.RunSQL(\n"
            '            "REINDEX INDEX CONCURRENTLY order_reference_idx", migrations.RunSQL.noop\n'
            "        ),\n"
            "    ]\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL("REINDEX INDEX order_reference_idx", migrations.RunSQL.noop),
            ]
            """
        ),
        good=Example(
            """
            atomic = False
            operations = [
                migrations.RunSQL(
                    "REINDEX INDEX CONCURRENTLY order_reference_idx", migrations.RunSQL.noop
                ),
            ]
            """
        ),
        work=Work.BUILD,
    ),
    Hazard(
        code="DSM609",
        name="refresh-blocks-reads",
        title="REFRESH MATERIALIZED VIEW keeps readers out until its query is done",
        severity=Severity.ERROR,
        why=(
            "A plain refresh runs the query under ACCESS EXCLUSIVE on the view. `CONCURRENTLY` takes "
            "EXCLUSIVE, under which it can be read, and needs a unique index over plain columns. "
            "`WITH NO DATA` leaves a view that can't be read at all."
        ),
        lock="ACCESS EXCLUSIVE on the materialised view",
        who_waits="Every SELECT from it.",
        way_out=(
            "```python\n"
            "migrations.RunSQL(\n"
            '    "REFRESH MATERIALIZED VIEW CONCURRENTLY store_totals", migrations.RunSQL.noop\n'
            ")\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL(
                    "REFRESH MATERIALIZED VIEW store_totals", migrations.RunSQL.noop
                ),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.RunSQL(
                    "REFRESH MATERIALIZED VIEW CONCURRENTLY store_totals", migrations.RunSQL.noop
                ),
            ]
            """
        ),
        work=Work.SCAN,
    ),
    Hazard(
        code="DSM610",
        name="explicit-table-lock",
        title="LOCK TABLE keeps writers or readers out until the migration is committed",
        severity=Severity.ERROR,
        why=(
            "`LOCK TABLE` without a mode takes ACCESS EXCLUSIVE; SHARE and stronger modes keep "
            "writers out. The lock is held until the transaction ends, through everything that "
            "comes after it in the migration."
        ),
        lock="The one that it names; ACCESS EXCLUSIVE if it names none",
        who_waits="Writes for SHARE, SHARE ROW EXCLUSIVE and EXCLUSIVE; everything else, too, for "
        "ACCESS EXCLUSIVE.",
        way_out=(
            "Most statements take the lock that they need. Where two tables have to be locked "
            "together, put the locks and what needs them into a migration of its own that is over "
            "in an instant, and say so:\n\n"
            "```python\n"
            "# safemigrations: ignore DSM610 -- two instant statements need both tables\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL(
                    "LOCK TABLE store_order IN SHARE ROW EXCLUSIVE MODE", migrations.RunSQL.noop
                ),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.RunSQL(
                    "LOCK TABLE store_order IN SHARE UPDATE EXCLUSIVE MODE",
                    migrations.RunSQL.noop,
                ),
            ]
            """
        ),
        remains="it is locked",
    ),
    Hazard(
        code="DSM613",
        name="attach-partition-scans",
        title="ATTACH PARTITION reads the partition under ACCESS EXCLUSIVE",
        severity=Severity.ERROR,
        why=(
            "PostgreSQL has to know that every row fits the partition's bounds. Unless a valid CHECK "
            "says so, it reads the table under ACCESS EXCLUSIVE. The parent is locked weakly, but a "
            "default partition is locked and read as well."
        ),
        lock="ACCESS EXCLUSIVE on the partition and on a default partition",
        who_waits="Every statement on them, reads included.",
        way_out=(
            "Prove it first, without blocking, and drop the CHECK afterwards:\n\n"
            "```sql\n"
            "ALTER TABLE orders_2027 ADD CONSTRAINT bounds CHECK (year = 2027) NOT VALID;\n"
            "ALTER TABLE orders_2027 VALIDATE CONSTRAINT bounds;\n"
            "ALTER TABLE orders ATTACH PARTITION orders_2027 FOR VALUES IN (2027);\n"
            "```\n\n"
            "If there is such a CHECK: "
            "`# safemigrations: ignore DSM613 -- its CHECK bounds is valid`."
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL(
                    "ALTER TABLE orders ATTACH PARTITION store_order FOR VALUES IN (2027)",
                    "ALTER TABLE orders DETACH PARTITION store_order",
                ),
            ]
            """
        ),
        good=Example(
            """
            operations = [
                migrations.RunSQL(
                    "CREATE TABLE orders_2027 (year int, total int); "
                    "ALTER TABLE orders ATTACH PARTITION orders_2027 FOR VALUES IN (2027)",
                    "DROP TABLE orders_2027",
                ),
            ]
            """
        ),
        work=Work.SCAN,
    ),
    Hazard(
        code="DSM614",
        name="detach-partition-blocks",
        title="DETACH PARTITION waits for, and then blocks, every query on the partitioned table",
        severity=Severity.ERROR,
        why=(
            "`DETACH PARTITION` is quick once it starts, but needs ACCESS EXCLUSIVE on the parent: "
            "it queues behind the longest running query on any partition, and everything after it "
            "queues behind it. With `CONCURRENTLY` it takes SHARE UPDATE EXCLUSIVE."
        ),
        lock="ACCESS EXCLUSIVE on the partitioned table",
        who_waits="Every statement on the table and all its partitions.",
        way_out=(
            "```python\n"
            "class Migration(migrations.Migration):\n"
            "    atomic = False\n"
            "    operations = [\n"
            "        migrations.RunSQL(\n"
            '            "ALTER TABLE orders DETACH PARTITION orders_2019 CONCURRENTLY",\n'
            "            migrations.RunSQL.noop,\n"
            "        ),\n"
            "    ]\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RunSQL(
                    "ALTER TABLE orders DETACH PARTITION orders_2019", migrations.RunSQL.noop
                ),
            ]
            """
        ),
        good=Example(
            """
            atomic = False
            operations = [
                migrations.RunSQL(
                    "ALTER TABLE orders DETACH PARTITION orders_2019 CONCURRENTLY",
                    migrations.RunSQL.noop,
                ),
            ]
            """
        ),
        remains="all its partitions are locked",
    ),
)
