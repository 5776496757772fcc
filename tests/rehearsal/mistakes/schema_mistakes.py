"""Mistakes in what becomes of tables, columns, indexes and constraints."""

from __future__ import annotations

from tests.rehearsal.mistakes.mistake import File, Mistake, sql, within

HIDDEN_REWRITE = """
CREATE FUNCTION widen() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE concat('ALTER TABLE store_', 'item ALTER COLUMN total TYPE bigint');
END $$
"""
HIDDEN_NOT_NULL = """
DO $$ BEGIN
    EXECUTE concat('ALTER TABLE store_', 'item ALTER COLUMN total SET NOT NULL');
END $$
"""
WIDE_STAGES = """
AddShadowColumn("item", "total", db_type="bigint"),
BackfillShadowColumn("item", "total"),
CopyShadowIndexes("item", "total"),
CopyShadowConstraints("item", "total"),
SwapColumns("item", "total"),
"""
WIDE = 'migrations.AlterField("item", "total", models.BigIntegerField(null=True))'
NO_TOTAL = 'migrations.RemoveField("item", "total")'
UNIQUE = 'models.UniqueConstraint(fields=["name"], name="item_name")'
ADD_UNIQUE = f'migrations.AddConstraint("item", {UNIQUE})'
DROP_KEY = sql(
    "drop_key",
    "ALTER TABLE store_item DROP CONSTRAINT item_name",
    "ALTER TABLE store_item ADD CONSTRAINT item_name UNIQUE (name)",
)
ANOTHER_KEY = sql(
    "another_key",
    "CREATE UNIQUE INDEX CONCURRENTLY another_name ON store_item (name)",
    "DROP INDEX CONCURRENTLY another_name",
    atomic=False,
)
KIND = 'migrations.AddField("item", "kind", models.CharField(max_length=9, default="x"))'
ADD_KIND = File(
    "kind", within("Expand", 'AddColumn("item", "kind", value="x")', KIND), atomic=False
)
DROP_KIND_DEFAULT = 'DropColumnDefault("item", "kind", value="x")'
FOREIGN_KEY = (
    "ALTER TABLE store_item ADD CONSTRAINT item_box FOREIGN KEY (box) REFERENCES store_box (id)"
)
ADD_BOX = sql("box", "ALTER TABLE store_item ADD box bigint", "ALTER TABLE store_item DROP box")
DROP_FOREIGN_KEY = "ALTER TABLE store_item DROP CONSTRAINT item_box"
VIEW = "CREATE VIEW totals AS SELECT name, total FROM store_item"

SCHEMA_MISTAKES = [
    Mistake(
        "an index that blocks, inside of RunSQL",
        bad=(sql("index", "CREATE INDEX by_name ON store_item (name)", "DROP INDEX by_name"),),
        good=(
            sql(
                "index",
                "CREATE INDEX CONCURRENTLY by_name ON store_item (name)",
                "DROP INDEX CONCURRENTLY by_name",
                atomic=False,
            ),
        ),
        reasons=("CREATE INDEX", "concurrent"),
    ),
    Mistake(
        "a column that is dropped while old code reads it",
        bad=(
            File(
                "drop",
                within(
                    "Expand",
                    'DropColumn("item", "total", field=models.IntegerField(null=True))',
                    NO_TOTAL,
                ),
                atomic=False,
            ),
        ),
        good=(
            File("drop", within("Expand", 'RelaxColumn("item", "total")', NO_TOTAL), atomic=False),
            File(
                "contract",
                within(
                    "Contract", 'DropColumn("item", "total", field=models.IntegerField(null=True))'
                ),
                atomic=False,
            ),
        ),
        reasons=("total",),
    ),
    Mistake(
        "a NOT NULL that old code violates",
        bad=(
            File(
                "not_null",
                within(
                    "Expand",
                    f"migrations.RunSQL({HIDDEN_NOT_NULL!r}, "
                    "'ALTER TABLE store_item ALTER total DROP NOT NULL')",
                    'migrations.AlterField("item", "total", models.IntegerField())',
                ),
            ),
        ),
        good=(
            File(
                "not_null",
                within(
                    "Contract",
                    'SetNotNull("item", "total")',
                    'migrations.AlterField("item", "total", models.IntegerField())',
                ),
                atomic=False,
            ),
        ),
        reasons=("the code that serves now fails", "total"),
    ),
    Mistake(
        "a type that old code can't use",
        bad=(
            File(
                "type",
                within(
                    "Expand",
                    "migrations.RunSQL('ALTER TABLE store_item ALTER total TYPE text',"
                    " 'ALTER TABLE store_item ALTER total TYPE integer USING total::integer')",
                    'migrations.AlterField("item", "total", models.TextField(null=True))',
                ),
            ),
        ),
        good=(
            File("label", 'migrations.AddField("item", "label", models.TextField(null=True)),'),
            File(
                "fill",
                'RunInBatches("item", UpdateRows({"label": Cast("total", models.TextField())}),'
                " RunInBatches.noop),",
                before="from django.db.models.functions import Cast",
                atomic=False,
            ),
        ),
        reasons=("total",),
    ),
    Mistake(
        "a rewrite that is hidden in a function",
        bad=(
            File(
                "widen",
                within(
                    "Expand",
                    f"migrations.RunSQL([{HIDDEN_REWRITE!r}, 'SELECT widen()'],"
                    " ['DROP FUNCTION widen', 'ALTER TABLE store_item ALTER total TYPE integer'])",
                    WIDE,
                ),
            ),
        ),
        good=(
            File("widen", within("Expand", WIDE_STAGES, WIDE), atomic=False),
            File(
                "contract",
                within("Contract", 'DropReplacedColumn("item", "total", db_type="integer")'),
                atomic=False,
            ),
        ),
        reasons=("rewr",),
    ),
    Mistake(
        "a unique index that old code's rows violate",
        bad=(
            sql(
                "unique",
                "CREATE UNIQUE INDEX CONCURRENTLY one_name ON store_item (left(name, 0)) WHERE id > 200",
                "DROP INDEX CONCURRENTLY one_name",
                atomic=False,
            ),
        ),
        good=(
            sql(
                "unique",
                "CREATE INDEX CONCURRENTLY one_name ON store_item (left(name, 0)) WHERE id > 200",
                "DROP INDEX CONCURRENTLY one_name",
                atomic=False,
            ),
        ),
        reasons=("the code that serves now fails", "one_name"),
    ),
    Mistake(
        "a unique key that goes before the one in its place is there",
        start=(File("unique", f"{ADD_UNIQUE},"),),
        bad=(DROP_KEY, ANOTHER_KEY),
        good=(ANOTHER_KEY, DROP_KEY),
        reasons=("the code that serves now fails", "ON CONFLICT"),
    ),
    Mistake(
        "a table that is renamed with no view under the old name",
        bad=(File("rename", 'migrations.RenameModel("Item", "Thing"),'),),
        good=(
            File(
                "rename",
                within(
                    "Expand",
                    'RenameTableBehindView("Thing", old_table="store_item", new_table="store_thing",'
                    ' columns=["id", "name", "total"]),'
                    'RenameForeignKeys("Thing", renamed=[("Item", "Thing")]),'
                    'RenameContentType("Thing", old_name="Item")',
                    'migrations.RenameModel("Item", "Thing")',
                ),
                atomic=False,
            ),
            File(
                "contract",
                within(
                    "Contract",
                    'DropOldNameView("Thing", old_table="store_item", new_table="store_thing",'
                    ' columns=["id", "name", "total"]),'
                    'MergeContentTypes("Thing", old_name="Item")',
                ),
                atomic=False,
            ),
        ),
        reasons=("store_item",),
    ),
    Mistake(
        "a foreign key that is added and validated in one statement",
        bad=(ADD_BOX, sql("key", FOREIGN_KEY, DROP_FOREIGN_KEY)),
        good=(
            ADD_BOX,
            sql("key", f"{FOREIGN_KEY} NOT VALID", DROP_FOREIGN_KEY),
            sql("validate", "ALTER TABLE store_item VALIDATE CONSTRAINT item_box"),
        ),
        reasons=("DSM509", "SHARE ROW EXCLUSIVE"),
    ),
    Mistake(
        "a default that is dropped while old code needs it",
        bad=(ADD_KIND, File("no_default", within("Expand", DROP_KIND_DEFAULT), atomic=False)),
        good=(ADD_KIND, File("no_default", within("Contract", DROP_KIND_DEFAULT), atomic=False)),
        reasons=("kind",),
    ),
    Mistake(
        "a view that goes along with a column and does not come back",
        rows=(VIEW,),
        phase="contract",
        bad=(
            File(
                "drop",
                within(
                    "Contract",
                    "migrations.RunSQL('ALTER TABLE store_item DROP COLUMN total CASCADE',"
                    " 'ALTER TABLE store_item ADD COLUMN total integer')",
                    NO_TOTAL,
                ),
            ),
        ),
        good=(
            File(
                "drop",
                within(
                    "Contract",
                    "migrations.RunSQL(['DROP VIEW totals',"
                    " 'ALTER TABLE store_item DROP COLUMN total'],"
                    " ['ALTER TABLE store_item ADD COLUMN total integer',"
                    f" {VIEW!r}])",
                    NO_TOTAL,
                ),
            ),
        ),
        reasons=("totals", "there before, not after"),
    ),
]
