"""Hazards of how migrations stand to each other: branches, squashes and dependencies."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity

HEAD = "from django.db import migrations, models\n\n\nclass Migration(migrations.Migration):\n"

BRANCH = (
    HEAD
    + """    dependencies = [("store", "{after}")]

    operations = [
        migrations.AlterField("order", "reference", models.CharField(max_length={length})),
    ]
"""
)

MERGE = (
    "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
    """    dependencies = [("store", "0002_before"), ("store", "0002_beside")]

    operations = []
"""
)

RUN_BEFORE = """
run_before = [("auth", "0012_alter_user_first_name_max_length")]
operations = [
    migrations.AddField("customer", "login", models.CharField(max_length=150, null=True)),
]
"""

SQUASH = (
    HEAD
    + """    replaces = [("store", "0002_before")]
    dependencies = [("store", "0001_initial")]
{lines}
    operations = [
        migrations.AddField("customer", "login", models.CharField(max_length=150, null=True)),
    ]
"""
)

CONTRACT = (
    "from django.db import migrations, models\n"
    "from django_safemigrations.operations import Contract, SetNotNull\n\n\n"
    "class Migration(migrations.Migration):\n"
    """    atomic = False
    dependencies = [("billing", "0001_initial")]

    operations = [
        Contract(
            state_operations=[
                migrations.AlterField("invoice", "number", models.CharField(max_length=20)),
            ],
            database_operations=[SetNotNull("invoice", "number")],
        ),
    ]
"""
)

BILLING = (
    HEAD
    + """    dependencies = []

    operations = [
        migrations.CreateModel(
            "Invoice",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("number", models.CharField(max_length=20, null=True)),
            ],
        ),
    ]
"""
)


def _after(*dependencies: str) -> str:
    listed = "".join(f"        {one},\n" for one in dependencies)
    return (
        HEAD + f"    dependencies = [\n{listed}    ]\n"
        """
    operations = [
        migrations.AddField("order", "note", models.TextField(null=True)),
    ]
"""
    )


def _badge(*dependencies: str, to: str) -> str:
    return (
        "from django.conf import settings\n" * ("settings" in to)
        + HEAD
        + f"""    dependencies = [
        {(chr(10) + "        ").join(f"{one}," for one in dependencies)}
    ]

    operations = [
        migrations.CreateModel(
            "Badge",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("holder", models.ForeignKey({to}, models.CASCADE)),
            ],
        ),
    ]
"""
    )


HAZARDS = (
    Hazard(
        code="DSM410",
        name="branches-change-the-same",
        title="Two branches that a merge joins change the same field, table or option",
        severity=Severity.WARNING,
        why=(
            "A merge says that neither branch comes first. Django then runs them in the order of "
            "their names, while a database that had one of them before runs the other last. Two "
            "`AlterField`s of one field, two values of `unique_together`, or a rename beside "
            "anything else on that model end differently in the two orders, and nothing notices: "
            "the state is the same everywhere. Additions beside each other are harmless and not "
            "reported, and neither are options that the database doesn't know."
        ),
        lock="-",
        who_waits="Nobody; databases differ, or `migrate` stops on some of them.",
        way_out=(
            "As long as one of the branches is applied nowhere, put it behind the other one "
            "instead of joining them:\n\n"
            "```python\n"
            'dependencies = [("store", "0002_before")]\n'
            "```\n\n"
            "Otherwise compare what both changed in every database with the model, and say so at "
            "the head of the merge:\n\n"
            "```python\n"
            "# safemigrations: ignore-file DSM410 -- compared in staging and production\n"
            "```"
        ),
        bad=Example(
            MERGE,
            before="""
            operations = [
                migrations.AlterField("order", "reference", models.CharField(max_length=60)),
            ]
            """,
            others=(("store.0002_beside", BRANCH.format(after="0001_initial", length=40)),),
            whole_file=True,
        ),
        good=Example(
            MERGE,
            before="""
            operations = [
                migrations.AlterField("order", "reference", models.CharField(max_length=40)),
            ]
            """,
            others=(("store.0002_beside", BRANCH.format(after="0002_before", length=60)),),
            whole_file=True,
        ),
    ),
    Hazard(
        code="DSM411",
        name="squash-loses-something",
        title="A squashed migration lacks what the files that it replaces have",
        severity=Severity.WARNING,
        why=(
            "`squashmigrations` copies operations and dependencies, but neither `atomic = False` "
            "nor `run_before`, and what is taken out by hand is gone: code that ran without a "
            "transaction then runs in one with everything else, a migration of another app loses "
            "its place, and a new database lacks the rows that a `RunPython` made. Existing "
            "databases never run the squash, so only new ones differ."
        ),
        lock="Locks of the whole squash until its end, if `atomic = False` is lost",
        who_waits="Nobody on an existing database; a new one fails or lacks rows.",
        way_out=(
            "Carry it over by hand, or say in the old file that it isn't needed "
            "(`elidable=True` on a `RunPython`):\n\n"
            "```python\n"
            "class Migration(migrations.Migration):\n"
            "    atomic = False\n"
            '    run_before = [("auth", "0012_alter_user_first_name_max_length")]\n'
            "```"
        ),
        bad=Example(SQUASH.format(lines=""), before=RUN_BEFORE, whole_file=True),
        good=Example(
            SQUASH.format(
                lines='    run_before = [("auth", "0012_alter_user_first_name_max_length")]\n'
            ),
            before=RUN_BEFORE,
            whole_file=True,
        ),
    ),
    Hazard(
        code="DSM412",
        name="depends-on-latest",
        title="A migration depends on whatever is the last migration of another app",
        severity=Severity.WARNING,
        why=(
            "`__latest__` means another file with each release of the other app. A database that "
            "has applied this migration has not applied the new last one, and Django refuses to "
            "migrate it (`InconsistentMigrationHistory`). And as soon as the other app depends on "
            "this one, the dependencies are a circle."
        ),
        lock="-",
        who_waits="Nobody: `migrate` stops before it does anything.",
        way_out=(
            "Name the migration that makes what this one needs:\n\n"
            "```python\n"
            'dependencies = [("auth", "0012_alter_user_first_name_max_length")]\n'
            "```"
        ),
        bad=Example(_after('("store", "0001_initial")', '("auth", "__latest__")'), whole_file=True),
        good=Example(
            _after(
                '("store", "0001_initial")', '("auth", "0012_alter_user_first_name_max_length")'
            ),
            whole_file=True,
        ),
    ),
    Hazard(
        code="DSM413",
        name="depends-on-replaced-file",
        title="A migration depends on a file that is gone and was squashed",
        severity=Severity.WARNING,
        why=(
            "The name is only resolved through `replaces` of the squash. When `replaces` is "
            "deleted, the last step of squashing, Django no longer finds the migration "
            "(`NodeNotFoundError`), and with it no app can be migrated."
        ),
        lock="-",
        who_waits="Nobody yet.",
        way_out=('Name the squash:\n\n```python\ndependencies = [("store", "0002_squashed")]\n```'),
        bad=Example(
            _after('("store", "0002_gone")'),
            others=(
                (
                    "store.0002_squashed",
                    SQUASH.format(lines="").replace("0002_before", "0002_gone"),
                ),
            ),
            whole_file=True,
        ),
        good=Example(
            _after('("store", "0002_squashed")'),
            others=(
                (
                    "store.0002_squashed",
                    SQUASH.format(lines="").replace("0002_before", "0002_gone"),
                ),
            ),
            whole_file=True,
        ),
    ),
    Hazard(
        code="DSM414",
        name="acts-on-another-app",
        title="A migration changes the models of another app under its name",
        severity=Severity.ERROR,
        why=(
            "With another `app_label` Django applies the operations to the other app's models, and "
            "also records the file under that app. On the next run it looks for the file under its "
            "own app, doesn't find it applied, and runs it again. The other app's migrations don't "
            "know the change and undo or contradict it with its next release."
        ),
        lock="Those of its operations",
        who_waits="Nobody the first time; the second run fails.",
        way_out=(
            "Keep what you add in a model of your own, or take the other app's migrations over:\n\n"
            "```python\n"
            'MIGRATION_MODULES = {"auth": "project.auth_migrations"}\n'
            "```"
        ),
        bad=Example(
            HEAD
            + """    dependencies = [
        ("store", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    def __init__(self, name, app_label):
        super().__init__(name, "auth")

    operations = [
        migrations.AddField("user", "phone", models.CharField(max_length=20, null=True)),
    ]
""",
            whole_file=True,
        ),
        good=Example(
            _badge(
                '("store", "0001_initial")',
                "migrations.swappable_dependency(settings.AUTH_USER_MODEL)",
                to="settings.AUTH_USER_MODEL",
            ),
            whole_file=True,
        ),
    ),
    Hazard(
        code="DSM415",
        name="depends-on-foreign-contract",
        title="A migration waits for another app's contract",
        severity=Severity.WARNING,
        why=(
            "A contract runs when no old code is left, which may be days later. What depends on it "
            "can't be migrated by plain `migrate` without running it too early; `safemigrate` "
            "steps over it and keeps it pending, which fails if this migration touches the same "
            "columns. A contract changes nothing that another app's models see, so the dependency "
            "is only ever on too late a file."
        ),
        lock="-",
        who_waits="Old code, if the contract runs too early.",
        way_out=(
            "Depend on the expand migration:\n\n"
            "```python\n"
            'dependencies = [("billing", "0001_initial")]\n'
            "```"
        ),
        bad=Example(
            _after('("store", "0001_initial")', '("billing", "0002_number_not_null")'),
            others=(
                ("billing.0001_initial", BILLING),
                ("billing.0002_number_not_null", CONTRACT),
            ),
            whole_file=True,
        ),
        good=Example(
            _after('("store", "0001_initial")', '("billing", "0001_initial")'),
            others=(
                ("billing.0001_initial", BILLING),
                ("billing.0002_number_not_null", CONTRACT),
            ),
            whole_file=True,
        ),
    ),
    Hazard(
        code="DSM416",
        name="refers-to-swapped-model",
        title="A relation points to a model that a setting has swapped for another one",
        severity=Severity.ERROR,
        why=(
            "A swapped model has no table. A migration that names it, instead of the setting that "
            "swaps it, works only in projects that keep Django's own model."
        ),
        lock="-",
        who_waits="Nobody: `migrate` stops.",
        way_out=(
            "Name the setting, also among the dependencies:\n\n"
            "```python\n"
            "dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]\n"
            "# and in the fields:\n"
            '("holder", models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)),\n'
            "```"
        ),
        bad=Example(
            _badge('("store", "0002_before")', to='"store.Person"'),
            before="""
            operations = [
                # The project's AUTH_USER_MODEL is another one.
                migrations.CreateModel(
                    "Person",
                    [("id", models.BigAutoField(primary_key=True))],
                    options={"swappable": "AUTH_USER_MODEL"},
                ),
            ]
            """,
            whole_file=True,
        ),
        good=Example(
            _badge(
                '("store", "0001_initial")',
                "migrations.swappable_dependency(settings.AUTH_USER_MODEL)",
                to="settings.AUTH_USER_MODEL",
            ),
            whole_file=True,
        ),
    ),
    Hazard(
        code="DSM417",
        name="missing-dependency",
        title="A relation points to another app's model, and nothing says that its table comes first",
        severity=Severity.WARNING,
        why=(
            "Without a dependency the order of two apps is that of their names. It may happen to "
            "fit; `migrate` for one app, a test database of few apps, or an app that is renamed "
            "shows that it doesn't: the table to refer to isn't there yet."
        ),
        lock="-",
        who_waits="Nobody: `migrate` stops half way on a new database.",
        way_out=(
            "Depend on the migration that creates the model; for one that a setting chooses:\n\n"
            "```python\n"
            "dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]\n"
            "```"
        ),
        bad=Example(
            _badge('("store", "0001_initial")', to="settings.AUTH_USER_MODEL"), whole_file=True
        ),
        good=Example(
            _badge(
                '("store", "0001_initial")',
                "migrations.swappable_dependency(settings.AUTH_USER_MODEL)",
                to="settings.AUTH_USER_MODEL",
            ),
            whole_file=True,
        ),
    ),
)
