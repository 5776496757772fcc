"""Hazards of the migration file itself: one that can't be read, and comments that hide findings."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity

SUPPRESSED = Example(
    """
    operations = [
        # safemigrations: ignore DSM101 -- the table has 200 rows
        migrations.AddIndex("order", models.Index(fields=["total"], name="order_total_idx")),
    ]
    """
)

RULE = """from django.db.migrations import AddField

            from django_safemigrations.lint.api import Observation, lint_rule, own_hazard

            SHOP001 = own_hazard(
                "SHOP001",
                "text-longer-than-a-screen",
                "A text field is longer than the screen that shows it",
                why="The form cuts it.",
                way_out="Give it `max_length=200`.",
            )


            @lint_rule(SHOP001, operations=[AddField])
            def long_text(operation, context):"""

HAZARDS = (
    Hazard(
        code="DSM901",
        name="suppression-without-reason",
        title="A comment hides a finding and doesn't say why that is safe",
        severity=Severity.ERROR,
        why=(
            "Whoever reads the file next year has to know why the finding was hidden, and "
            "whether the reason still holds. Without a reason the comment is a finding itself."
        ),
        lock="-",
        who_waits="Nobody.",
        way_out=(
            "Write the reason after two dashes:\n\n"
            "```python\n"
            "# safemigrations: ignore DSM101 -- the table has 200 rows\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                # safemigrations: ignore DSM101
                migrations.AddIndex(
                    "order", models.Index(fields=["total"], name="order_total_idx")
                ),
            ]
            """
        ),
        good=SUPPRESSED,
    ),
    Hazard(
        code="DSM902",
        name="suppression-unused",
        title="A comment hides a finding that isn't there",
        severity=Severity.WARNING,
        why=(
            "Either the operation was changed since, or the comment stands in the wrong place and "
            "hides nothing. Left in, it would hide the next finding of that code."
        ),
        lock="-",
        who_waits="Nobody.",
        way_out=(
            "Remove it, or put it on the operation's first or last line, or on the line "
            "above it:\n\n"
            "```python\n"
            "# safemigrations: ignore DSM101 -- the table has 200 rows\n"
            "migrations.AddIndex(...),\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                # safemigrations: ignore DSM101 -- the table has 200 rows
                migrations.AddField("order", "note", models.TextField(null=True)),
            ]
            """
        ),
        good=SUPPRESSED,
    ),
    Hazard(
        code="DSM903",
        name="suppression-unknown-code",
        title="A comment names a code that doesn't exist",
        severity=Severity.ERROR,
        why="A mistyped code hides nothing, while its reader believes that it does.",
        lock="-",
        who_waits="Nobody.",
        way_out=(
            "Write the code as the finding shows it; several are separated by commas:\n\n"
            "```python\n"
            "# safemigrations: ignore DSM401, DSM405 -- reads only, nothing to reverse\n"
            "```"
        ),
        bad=Example(
            """
            operations = [
                # safemigrations: ignore DSM1O1 -- the table has 200 rows
                migrations.AddField("order", "note", models.TextField(null=True)),
            ]
            """
        ),
        good=SUPPRESSED,
    ),
    Hazard(
        code="DSM904",
        name="migration-unreadable",
        title="A migration can't be read, or can't be put in its place among the others",
        severity=Severity.ERROR,
        why=(
            "The file can't be imported, has no `Migration` class, depends on a migration that "
            "doesn't exist, is part of a circle, or is one of two last migrations of its app. "
            "Django can't run it either. All other files are still linted, "
            "with what is known of the state before them."
        ),
        lock="-",
        who_waits="Nobody: `migrate` stops before it does anything.",
        way_out=(
            "The message says what is wrong with the file. Two last migrations of one app are "
            "joined by `manage.py makemigrations --merge`."
        ),
        bad=Example(
            """
            from django.db import migrations


            class Migration(migrations.Migration):
                dependencies = [("store", "0001_initial")]

                operations = [
                    migrations.AddField(
                ]
            """,
            whole_file=True,
        ),
        good=Example(
            """
            operations = [
                migrations.AddField("order", "note", models.TextField(null=True)),
            ]
            """
        ),
    ),
    Hazard(
        code="DSM905",
        name="own-rule-failed",
        title="A rule of the project's own raised an exception",
        severity=Severity.ERROR,
        why=(
            "The rule did not get to the end, so nobody knows what it would have found in this "
            "operation. All other rules have judged it."
        ),
        lock="-",
        who_waits="Nobody.",
        way_out=(
            "The message names the rule and the exception. Usually an operation has another shape "
            "than the rule expects: a model that isn't in the state, or a field without the "
            "attribute. To see it outside of lintmigrations, call the rule as a function: "
            "`my_rule(operation, context)`."
        ),
        bad=Example(
            """
            operations = [
                migrations.AddField("order", "note", models.TextField(null=True)),
            ]
            """,
            rules=f"""
            {RULE}
                # A TextField has no maximum: None is not greater than a number.
                if operation.field.max_length > 200:
                    yield Observation("SHOP001", "Longer than a screen.", "Write max_length=200.")


            RULES = [long_text]
            """,
        ),
        good=Example(
            """
            operations = [
                migrations.AddField("order", "note", models.TextField(null=True)),
            ]
            """,
            rules=f"""
            {RULE}
                if (operation.field.max_length or 0) > 200:
                    yield Observation("SHOP001", "Longer than a screen.", "Write max_length=200.")


            RULES = [long_text]
            """,
        ),
    ),
)
