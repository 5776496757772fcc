"""Hazards of building and dropping indexes."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity, Work

CONTRIB = "from django.contrib.postgres.operations import AddIndexConcurrently"

HAZARDS = (
    Hazard(
        code="DSM101",
        name="index-blocks-writes",
        title="Building an index blocks writes to the table until it is done",
        severity=Severity.ERROR,
        work=Work.BUILD,
        why=(
            "`CREATE INDEX` without `CONCURRENTLY` reads the whole table under a lock that lets "
            "nobody write. Django runs it for `AddIndex`, for `db_index=True` and `unique=True` on "
            "an existing field (a varchar or text column gets a second, `_like` index), and holds "
            "the lock until the migration's transaction ends. An added `unique=True` is worse: "
            "`ADD CONSTRAINT … UNIQUE` builds its index under ACCESS EXCLUSIVE, so reads wait too."
        ),
        lock="SHARE (ACCESS EXCLUSIVE for unique=True and for a primary key)",
        who_waits="Every INSERT, UPDATE, DELETE on the table; with unique=True every SELECT too.",
        way_out=(
            "Run `makemigrations` with `django_safemigrations` installed: it writes the "
            "index as an "
            "expand migration that builds it concurrently, drops an INVALID leftover of an earlier "
            "try first, and fails unless the index is valid in the end. By hand:\n\n"
            "```python\n"
            "atomic = False\n"
            "operations = [\n"
            "    Expand(\n"
            "        state_operations=[migrations.AddIndex(...)],\n"
            '        database_operations=[CreateIndexConcurrently("order", "order_total_idx")],\n'
            "    )\n"
            "]\n"
            "```\n\n"
            "For `db_index=True` the stage is `CreateFieldIndexesConcurrently(model, field)`, for "
            "`unique=True` it is `AddFieldUnique(model, field)`."
        ),
        bad=Example(
            """
            operations = [
                migrations.AddIndex(
                    "order", models.Index(fields=["total"], name="order_total_idx")
                ),
            ]
            """
        ),
        good=Example(
            """
            atomic = False
            operations = [
                Expand(
                    state_operations=[
                        migrations.AddIndex(
                            "order", models.Index(fields=["total"], name="order_total_idx")
                        ),
                    ],
                    database_operations=[
                        CreateIndexConcurrently(model_name="order", name="order_total_idx"),
                    ],
                ),
            ]
            """,
            setup=(
                "from django_safemigrations.operations import CreateIndexConcurrently, Expand\n"
            ),
        ),
    ),
    Hazard(
        code="DSM102",
        name="index-drop-blocks-queries",
        title="Dropping an index waits for, and then blocks, every query on the table",
        severity=Severity.ERROR,
        why=(
            "`DROP INDEX` is quick once it starts, but it needs ACCESS EXCLUSIVE on the table. It "
            "queues behind the longest running query, and everything that comes after it queues "
            "behind it. Old code may also still need the index."
        ),
        lock="ACCESS EXCLUSIVE",
        who_waits="Every statement on the table, reads included.",
        way_out=(
            "Run `makemigrations` with `django_safemigrations` installed: it writes the drop as a "
            "contract migration, which runs when no old code is left and uses "
            "`DROP INDEX CONCURRENTLY`. By hand:\n\n"
            "```python\n"
            "atomic = False\n"
            "operations = [\n"
            "    Contract(\n"
            "        state_operations=[migrations.RemoveIndex(...)],\n"
            '        database_operations=[DropIndexConcurrently("order", "order_reference_idx")],\n'
            "    )\n"
            "]\n"
            "```\n\n"
            "For a field that loses `db_index=True` the stage is `DropFieldIndexesConcurrently`."
        ),
        bad=Example(
            """
            operations = [
                migrations.RemoveIndex("order", "order_reference_idx"),
            ]
            """
        ),
        good=Example(
            """
            atomic = False
            operations = [
                Contract(
                    state_operations=[
                        migrations.RemoveIndex("order", "order_reference_idx"),
                    ],
                    database_operations=[
                        DropIndexConcurrently(model_name="order", name="order_reference_idx"),
                    ],
                ),
            ]
            """,
            setup="from django_safemigrations.operations import Contract, DropIndexConcurrently\n",
        ),
    ),
    Hazard(
        code="DSM103",
        name="concurrent-index-in-transaction",
        title="A concurrent build or drop can't run inside the migration's transaction",
        severity=Severity.ERROR,
        why=(
            "PostgreSQL refuses `CREATE INDEX CONCURRENTLY` and `DROP INDEX CONCURRENTLY` inside a "
            "transaction block, and Django wraps a migration in one unless it says "
            "`atomic = False`. The migration fails, or passes only on the empty databases of tests."
        ),
        lock="-",
        who_waits="Nobody: the migration fails and is rolled back.",
        way_out=(
            "Give the migration `atomic = False`, and keep nothing else in it that needs the "
            "transaction:\n\n"
            "```python\n"
            "class Migration(migrations.Migration):\n"
            "    atomic = False\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                AddIndexConcurrently(
                    "order", models.Index(fields=["total"], name="order_total_idx")
                ),
            ]
            """,
            setup=CONTRIB,
        ),
        good=Example(
            """
            atomic = False
            operations = [
                Expand(
                    state_operations=[
                        migrations.AddIndex(
                            "order", models.Index(fields=["total"], name="order_total_idx")
                        ),
                    ],
                    database_operations=[
                        CreateIndexConcurrently(model_name="order", name="order_total_idx"),
                    ],
                ),
            ]
            """,
            setup=(
                "from django_safemigrations.operations import CreateIndexConcurrently, Expand\n"
            ),
        ),
    ),
    Hazard(
        code="DSM104",
        name="concurrent-index-not-rerunnable",
        title="After a failed concurrent build the migration can't be run again",
        severity=Severity.WARNING,
        why=(
            "A concurrent build that fails (a deadlock, a duplicate, a killed session) leaves an "
            "INVALID index behind: it slows down writes and serves no query. Django's "
            "`AddIndexConcurrently` then fails on every further try, because an index of that "
            "name exists."
        ),
        lock="SHARE UPDATE EXCLUSIVE",
        who_waits="Nobody; the deploy is stuck until the leftover is dropped by hand.",
        way_out=(
            "Use `CreateIndexConcurrently` of django_safemigrations, which drops an INVALID "
            "leftover first and checks that the index is valid in the end:\n\n"
            "```python\n"
            "Expand(\n"
            "    state_operations=[migrations.AddIndex(...)],\n"
            '    database_operations=[CreateIndexConcurrently("order", "order_total_idx")],\n'
            ")\n"
            "```\n\n"
            "If the leftover is there already: `DROP INDEX CONCURRENTLY order_total_idx;`"
        ),
        bad=Example(
            """
            atomic = False
            operations = [
                AddIndexConcurrently(
                    "order", models.Index(fields=["total"], name="order_total_idx")
                ),
            ]
            """,
            setup=CONTRIB,
        ),
        good=Example(
            """
            atomic = False
            operations = [
                Expand(
                    state_operations=[
                        migrations.AddIndex(
                            "order", models.Index(fields=["total"], name="order_total_idx")
                        ),
                    ],
                    database_operations=[
                        CreateIndexConcurrently(model_name="order", name="order_total_idx"),
                    ],
                ),
            ]
            """,
            setup=(
                "from django_safemigrations.operations import CreateIndexConcurrently, Expand\n"
            ),
        ),
    ),
)
