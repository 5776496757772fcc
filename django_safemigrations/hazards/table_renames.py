"""Hazards of renaming a model that no view can take away."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity

PLACE = """
operations = [
    migrations.CreateModel("Place", [("id", models.BigAutoField(primary_key=True))]),
    migrations.CreateModel(
        "Shop",
        [
            (
                "place_ptr",
                models.OneToOneField(
                    "store.Place", models.CASCADE, parent_link=True, primary_key=True
                ),
            ),
        ],
        bases=("store.place",),
    ),
]
"""
COMMENT = """
dependencies = [
    ("store", "0001_initial"),
    ("contenttypes", "0002_remove_content_type_name"),
]
operations = [
    migrations.CreateModel(
        "Comment",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("kind", models.ForeignKey("contenttypes.ContentType", models.CASCADE)),
            ("object_id", models.BigIntegerField()),
        ],
    ),
]
"""
HAZARDS = (
    Hazard(
        code="DSM538",
        name="rename-parent-model",
        title="A model whose table others extend can't be renamed: migrate fails",
        severity=Severity.ERROR,
        why=(
            "`RenameModel` repoints the relations to a model, but not the bases of models that "
            "inherit from it by multi-table inheritance. Django can't build those models any more, "
            "so `migrate` fails before it reaches the database. It also takes the link to the "
            "parent, `place_ptr`, for a field removed and another one added, and would drop the "
            "primary key. Migrations can't change bases: https://code.djangoproject.com/ticket/23521."
        ),
        lock="-",
        who_waits="Nobody; the migration fails, and so does every migration after it.",
        way_out=(
            "Keep the class name in the migrations and give it its new name where people see it: "
            "`verbose_name`, or in Python `Location = Place`. To be free of it, replace the "
            "inheritance by a `OneToOneField` first, in a release of its own."
        ),
        bad=Example('operations = [migrations.RenameModel("Place", "Location")]', before=PLACE),
        good=Example(
            """
            operations = [
                migrations.AlterModelOptions("Place", {"verbose_name": "location"}),
            ]
            """,
            before=PLACE,
        ),
    ),
    Hazard(
        code="DSM541",
        name="rename-generic-target",
        title="Old code that starts after a model was renamed loses sight of its generic relations",
        severity=Severity.WARNING,
        why=(
            "A generic relation stores the key of a row in `django_content_type`, and code finds "
            "that row by the model's name. A row has one name: it gets the new one in expand, as "
            "with plain Django. Processes of old code that have looked it up before go on; they "
            "keep it in memory. One that is started anew does not find it and makes a second row "
            "under the old name: it sees no relations of before, and `content_object` of one "
            "fails. No view or trigger can tell the two generations apart. The contract moves what "
            "was written for the second row and deletes it, so nothing is lost."
        ),
        lock="-",
        who_waits=(
            "Nobody; old processes that start between expand and contract don't see the generic "
            "relations of the model."
        ),
        way_out=(
            "Deploy new code soon after the expand, and don't restart old processes in between. If "
            "that is too much, rename in Python only, without `RenameModel`: `verbose_name`, or "
            "`Purchase = Order`. If no generic relation points to this model, suppress the finding "
            "with that reason."
        ),
        bad=Example(
            """
            atomic = False
            operations = [
                Expand(
                    state_operations=[migrations.RenameModel("Customer", "Client")],
                    database_operations=[
                        RenameTableBehindView(
                            model_name="Client",
                            old_table="store_customer",
                            new_table="store_client",
                            columns=["id", "name", "email"],
                        ),
                        RenameForeignKeys(
                            model_name="Client", renamed=[("Customer", "Client")]
                        ),
                        RenameContentType(model_name="Client", old_name="Customer"),
                    ],
                ),
            ]
            """,
            setup=(
                "from django_safemigrations.operations import "
                "Expand, RenameContentType, RenameForeignKeys, RenameTableBehindView\n"
            ),
            before=COMMENT,
        ),
        good=Example(
            """
            operations = [
                migrations.AlterModelOptions("Customer", {"verbose_name": "client"}),
            ]
            """,
            before=COMMENT,
        ),
    ),
)
