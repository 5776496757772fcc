"""Mistakes in what becomes of rows, and in how a plan hangs together."""

from __future__ import annotations

from tests.rehearsal.mistakes.mistake import File, Mistake, sql

SLOW = [
    """
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count(*) FROM generate_series(1, 500000);
    RETURN NEW;
END $$
""",
    "CREATE TRIGGER audit BEFORE INSERT OR UPDATE ON store_item"
    " FOR EACH ROW EXECUTE FUNCTION audit()",
]
QUICK = [SLOW[0].replace("    PERFORM count(*) FROM generate_series(1, 500000);\n", ""), SLOW[1]]
NO_AUDIT = ["DROP TRIGGER audit ON store_item", "DROP FUNCTION audit"]
CHANGE = """
def forwards(apps, schema_editor):
    Item = apps.get_model("store", "Item")
    for item in Item.objects{using}.filter(total=1)[:10]:
        item.name = "one"
        item.save()
"""
EMPTY_ONLY = """
def forwards(apps, schema_editor):
    Item = apps.get_model("store", "Item")
    {guard}
    Item.objects.get_or_create(pk=1000, defaults=dict(name="first"))


def backwards(apps, schema_editor):
    apps.get_model("store", "Item").objects.filter(pk=1000).delete()
"""
GUARD = 'assert not Item.objects.exists(), "the first item comes first"'
RUN = "migrations.RunPython(forwards, migrations.RunPython.noop),"
TOTAL = 'RunInBatches("item", UpdateRows({"total": F("total") + 1}, where=Q(name="a")), '
F_AND_Q = "from django.db.models import F, Q"
UNDO = 'UpdateRows({"total": F("total") - 1}, where=Q(name="a"))),'
ASIDE = "CREATE TABLE aside AS SELECT id, total FROM store_item WHERE false"
FILL_ASIDE = sql("fill", "ALTER TABLE aside ADD note text", "ALTER TABLE aside DROP note")

DATA_MISTAKES = [
    Mistake(
        "a RunPython without a way back",
        bad=(File("change", "migrations.RunPython(forwards),", before=CHANGE.format(using="")),),
        good=(File("change", RUN, before=CHANGE.format(using="")),),
        reasons=("reversible", "DSM401"),
    ),
    Mistake(
        "a trigger that makes writes many times slower",
        bad=(File("audit", f"migrations.RunSQL({SLOW!r}, {NO_AUDIT!r}),"),),
        good=(File("audit", f"migrations.RunSQL({QUICK!r}, {NO_AUDIT!r}),"),),
        reasons=("slower",),
    ),
    Mistake(
        "an UPDATE of a whole table in one statement",
        bad=(sql("fill", "UPDATE store_item SET total = 0 WHERE total IS NULL"),),
        good=(
            File(
                "fill",
                'RunInBatches("item", UpdateRows({"total": 0}, where=Q(total=None)),'
                " RunInBatches.noop),",
                before=F_AND_Q,
                atomic=False,
            ),
        ),
        reasons=("batched", "DSM402"),
    ),
    Mistake(
        "a data migration whose way back loses what it changed",
        bad=(
            File(
                "total",
                TOTAL + 'UpdateRows({"total": 0}, where=Q(name="a"))),',
                before=F_AND_Q,
                atomic=False,
            ),
        ),
        good=(File("total", TOTAL + UNDO, before=F_AND_Q, atomic=False),),
        reasons=("store_item.total: values have changed", "did not undo"),
    ),
    Mistake(
        "a lock that is held while rows are changed",
        bad=(
            File(
                "both",
                "migrations.RunSQL(['ALTER TABLE store_box ADD more int',"
                " 'UPDATE store_item SET total = 2 WHERE id < 100'],"
                " ['ALTER TABLE store_box DROP more']),",
            ),
        ),
        good=(
            sql("more", "ALTER TABLE store_box ADD more int", "ALTER TABLE store_box DROP more"),
            File(
                "fill",
                'RunInBatches("item", UpdateRows({"total": 2}, where=Q(id__lt=100)),'
                " RunInBatches.noop),",
                before=F_AND_Q,
                atomic=False,
            ),
        ),
        reasons=("UPDATE",),
    ),
    Mistake(
        "a RunPython that writes to another database",
        bad=(File("change", RUN, before=CHANGE.format(using='.using("other")')),),
        good=(File("change", RUN, before=CHANGE.format(using="")),),
        reasons=("the plan fails on the copy",),
    ),
    Mistake(
        "a sequence that begins again",
        bad=(sql("restart", "ALTER SEQUENCE store_item_id_seq RESTART"),),
        good=(
            sql(
                "restart",
                "ALTER SEQUENCE store_item_id_seq CACHE 5",
                "ALTER SEQUENCE store_item_id_seq CACHE 1",
            ),
        ),
        reasons=("store_item_id_seq", "numbers that were given before"),
    ),
    Mistake(
        "a migration that only works on an empty table",
        bad=(
            File(
                "first",
                "migrations.RunPython(forwards, backwards),",
                before=EMPTY_ONLY.format(guard=GUARD),
            ),
        ),
        good=(
            File(
                "first",
                "migrations.RunPython(forwards, backwards),",
                before=EMPTY_ONLY.format(guard=""),
            ),
        ),
        reasons=("the plan fails on the copy", "the first item comes first"),
    ),
    Mistake(
        "a migration that needs what another one leaves behind",
        bad=(sql("aside", ASIDE), FILL_ASIDE),
        good=(sql("aside", ASIDE, "DROP TABLE aside"), FILL_ASIDE),
        reasons=("aside",),
    ),
]
