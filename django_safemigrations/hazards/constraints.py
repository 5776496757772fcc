"""Hazards of constraints that no way of adding or dropping them takes away."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity, Work

STAGES = (
    "from django_safemigrations.operations import (\n"
    "    AddUniqueConstraint,\n"
    "    Contract,\n"
    "    DropConstraint,\n"
    "    Expand,\n"
    "    RenameConstraint,\n"
    ")\n"
)

HAZARDS = (
    Hazard(
        code="DSM515",
        name="upsert-target-removed",
        title="Old code's upserts on these fields fail once they are no longer unique",
        severity=Severity.WARNING,
        why=(
            "`bulk_create(…, update_conflicts=True, unique_fields=[…])` writes `ON CONFLICT` with "
            "these columns, and PostgreSQL looks for a unique index over exactly them: one with a "
            "condition or expressions, or a deferrable one, does not count. The rule has to go "
            "before new code runs, which may write what it forbids; so from then on such statements of "
            "old code fail. `get_or_create`, `update_or_create` and `ignore_conflicts=True` name "
            "no index and go on working, but may now write what was forbidden. Replacing "
            "`unique_together` by a partial constraint, for soft deletes, is the usual case."
        ),
        lock="ACCESS EXCLUSIVE, for an instant",
        who_waits="Nobody waits; old code's upserts that name these fields fail.",
        way_out=(
            "If nothing upserts on these fields, say so in a comment. If old code does, make "
            "it two releases: the first has code that does without `unique_fields`, or names other "
            "ones, and keeps the rule; the second removes it. Where the same fields stay "
            "unique by another rule, make both changes in one run of `makemigrations`: it "
            "renames the constraint, or builds the new one first, and nothing fails:\n\n"
            "```python\n"
            "Expand(\n"
            "    state_operations=[\n"
            '        migrations.AlterUniqueTogether("order", set()),\n'
            '        migrations.AddConstraint("order", models.UniqueConstraint(...)),\n'
            "    ],\n"
            '    database_operations=[RenameConstraint("order", ["a", "b"], "order_a_b")],\n'
            ")\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.RemoveConstraint("order", "order_once"),
            ]
            """,
            before="""
            atomic = False
            operations = [
                Expand(
                    state_operations=[
                        migrations.AddConstraint(
                            "order",
                            models.UniqueConstraint(fields=["reference"], name="order_once"),
                        ),
                    ],
                    database_operations=[AddUniqueConstraint("order", "order_once")],
                ),
            ]
            """,
            setup=STAGES,
        ),
        good=Example(
            """
            atomic = False
            operations = [
                Expand(
                    state_operations=[
                        migrations.RemoveConstraint("order", "order_once"),
                        migrations.AddConstraint(
                            "order",
                            models.UniqueConstraint(fields=["reference"], name="order_reference"),
                        ),
                    ],
                    database_operations=[
                        RenameConstraint("order", "order_once", "order_reference"),
                    ],
                ),
            ]
            """,
            before="""
            atomic = False
            operations = [
                Expand(
                    state_operations=[
                        migrations.AddConstraint(
                            "order",
                            models.UniqueConstraint(fields=["reference"], name="order_once"),
                        ),
                    ],
                    database_operations=[AddUniqueConstraint("order", "order_once")],
                ),
            ]
            """,
            setup=STAGES,
        ),
    ),
    Hazard(
        code="DSM516",
        name="exclusion-constraint",
        title="PostgreSQL can't add an exclusion constraint without blocking the table",
        severity=Severity.ERROR,
        work=Work.BUILD,
        why=(
            "An exclusion constraint can neither be added NOT VALID nor be made of an index that was "
            "built concurrently. `ALTER TABLE … ADD EXCLUDE` builds its index under ACCESS "
            "EXCLUSIVE, and fails at the end if two rows exclude each other. `makemigrations` "
            "leaves the operation as it is and says so."
        ),
        lock="ACCESS EXCLUSIVE, for as long as the index takes to build",
        who_waits="Every statement on the table, reads included.",
        way_out=(
            "While the table is small the build takes an instant: `safemigrate` waits for its lock "
            'in a bounded way, and `--waive no_downtime="…"` says that somebody has looked. For a '
            "large table, put the constraint on a new table, which is empty; write to both from a "
            "trigger, move the rows there in batches, and rename the tables. Where the expressions "
            "only compare by `=`, a `UniqueConstraint` says the same and is built concurrently:\n\n"
            "```python\n"
            'models.UniqueConstraint(fields=["room", "day"], name="booking_once")\n'
            "```"
        ),
        bad=Example(
            """
            operations = [
                migrations.AddConstraint(
                    "order",
                    ExclusionConstraint(
                        name="order_exclude",
                        expressions=[("reference", "=")],
                    ),
                ),
            ]
            """,
            setup="from django.contrib.postgres.constraints import ExclusionConstraint\n",
        ),
        good=Example(
            """
            atomic = False
            operations = [
                Expand(
                    state_operations=[
                        migrations.AddConstraint(
                            "order",
                            models.UniqueConstraint(fields=["reference"], name="order_once"),
                        ),
                    ],
                    database_operations=[AddUniqueConstraint("order", "order_once")],
                ),
            ]
            """,
            setup=STAGES,
        ),
    ),
    Hazard(
        code="DSM517",
        name="deferrable-unique-and-upserts",
        title="With a deferrable unique constraint, inserts that ignore conflicts fail",
        severity=Severity.WARNING,
        why=(
            "`bulk_create(…, ignore_conflicts=True)` writes `ON CONFLICT DO NOTHING`, for which "
            "every unique index of the table counts, and PostgreSQL can't do that with one "
            "that is deferrable: the statement fails, whatever rows it inserts. Old code that does "
            "that breaks as soon as the constraint is there."
        ),
        lock="ACCESS EXCLUSIVE, for an instant",
        who_waits="Nobody waits; inserts on the table that ignore conflicts fail.",
        way_out=(
            "Let the constraint come when no old code is left, and let new code do without "
            "`ignore_conflicts`. `makemigrations` writes it so, unless it takes the place of "
            "another rule, which would leave a time without either:\n\n"
            "```python\n"
            "Contract(\n"
            "    state_operations=[migrations.AddConstraint(...)],\n"
            '    database_operations=[AddUniqueConstraint("order", "order_once")],\n'
            ")\n"
            "```"
        ),
        bad=Example(
            """
            atomic = False
            operations = [
                Expand(
                    state_operations=[
                        migrations.AddConstraint(
                            "order",
                            models.UniqueConstraint(
                                fields=["reference"],
                                name="order_once",
                                deferrable=models.Deferrable.DEFERRED,
                            ),
                        ),
                    ],
                    database_operations=[AddUniqueConstraint("order", "order_once")],
                ),
            ]
            """,
            setup=STAGES,
        ),
        good=Example(
            """
            atomic = False
            operations = [
                Contract(
                    state_operations=[
                        migrations.AddConstraint(
                            "order",
                            models.UniqueConstraint(
                                fields=["reference"],
                                name="order_once",
                                deferrable=models.Deferrable.DEFERRED,
                            ),
                        ),
                    ],
                    database_operations=[AddUniqueConstraint("order", "order_once")],
                ),
            ]
            """,
            setup=STAGES,
        ),
    ),
)
