"""Rehearsals to report: a realistic one that failed, one that passed, an enormous and a hostile one."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django_safemigrations.rehearsal.results import (
    BoundaryCheck,
    CallFailure,
    CopyFacts,
    Direction,
    Estimate,
    HazardSeen,
    ItemSeen,
    LoadSeen,
    LockSeen,
    PassTrace,
    Rehearsal,
    RoundTrip,
    ScanSeen,
    StatementTrace,
    StepKey,
    StepTrace,
)

HASH = "9f2c41d7e6b8a05312cc7f0e9d4b6a8113e5f7702c9b4d6e8fa01b3c5d7e9f20"
STARTED = datetime(2026, 11, 23, 5, 14, 26, tzinfo=UTC)
ORDER, ITEM, CUSTOMER = (
    '"public"."store_order"',
    '"public"."store_item"',
    '"public"."store_customer"',
)
ARCHIVE = '"Archive"."Old ""orders"""'

HOSTILE = (
    "<script>document.title='owned'</script>",
    "'\"><img src=x onerror=alert(1)>",
    "</style></pre></details><h1>owned</h1>",
    "{{ css }}{% include 'report.css' %}{# #}",
    "javascript:alert(1)",
    "\u202egnp.exe\u202c\u2066\u2069",
    "nul\x00 bell\x07 escape\x1b[31m delete\x7f next\x85 line\u2028 bom\ufeff",
    "lone \ud800 surrogate, \ufffe and \U0010ffff",
    "שלום order عربي",
    "&amp;&lt;&#0;<!-- --> ]]> <![CDATA[",
    "-- comment /* */ $$ ; DROP TABLE x;\r\n\tline two\rline three",
    "naïve 名前 🐘 👩‍👩‍👧",
    "a" * 3000,
    "",
    " ",
    "\\n \\u003c %s %(name)s",
)
"""Texts that a database may hold and that must not harm a page."""

AEL, SUE = "AccessExclusiveLock", "ShareUpdateExclusiveLock"
BLOCKS = {
    AEL: "reads and writes",
    "ShareRowExclusiveLock": "writes",
    "ShareLock": "writes",
    SUE: "schema changes only",
    "RowExclusiveLock": "nobody",
    "AccessShareLock": "nobody",
}


def key(migration: str, operation: str, phase: str, what: str) -> StepKey:
    return StepKey("store", migration, operation, phase, what)


def lock(relation: str, mode: str, held: float, waited: float = 0.0) -> LockSeen:
    return LockSeen(relation, mode, BLOCKS[mode], waited, held)


ADD = key("0007_order_total_expand", "0", "expand", "Add field total to order")
DEFAULT = key("0007_order_total_expand", "1", "expand", "Keep a default of total for old code")
TRIGGER = key("0008_order_total_sync", "0", "expand", "Create the trigger that fills total")
FILL = key("0009_order_total_backfill", "0", "expand", "Fill total of order in batches")
CHECK = key("0010_order_total_not_null", "0.0", "expand", "Add CHECK (total IS NOT NULL) NOT VALID")
VALIDATE = key("0010_order_total_not_null", "0.1", "expand", "Validate the CHECK")
NOT_NULL = key("0010_order_total_not_null", "0.2", "expand", "SET NOT NULL on total")
INDEX = key(
    "0011_order_customer_idx", "0", "expand", "Create index order_customer_idx concurrently"
)
FOREIGN = key("0012_item_order_fk", "0", "expand", "Add foreign key item.order NOT VALID")
FOREIGN_VALID = key("0012_item_order_fk", "1", "expand", "Validate the foreign key of item.order")
RAW = key("0013_archive_view", "0", "expand", "Raw SQL: refresh_archive()")
DROP = key("0014_order_note_contract", "0", "contract", "Drop column note of order")
STEPS = (
    ADD,
    DEFAULT,
    TRIGGER,
    FILL,
    CHECK,
    VALIDATE,
    NOT_NULL,
    INDEX,
    FOREIGN,
    FOREIGN_VALID,
    RAW,
    DROP,
)

LONG_SQL = (
    'CREATE FUNCTION "store_order_total_fill"() RETURNS trigger LANGUAGE plpgsql AS $body$\nBEGIN\n'
    + "".join(
        f'    IF NEW."price_{n}" IS DISTINCT FROM OLD."price_{n}" THEN\n'
        f'        NEW."total" := NEW."price_{n}" * NEW."quantity";  -- <b>part {n}</b>\n    END IF;\n'
        for n in range(60)
    )
    + "    RETURN NEW;\nEND\n$body$"
)


class Clock:
    """Lays statements one after the other."""

    def __init__(self) -> None:
        self.now = 0.0

    def statement(self, sql: str, seconds: float, *locks: LockSeen, **facts: Any) -> StatementTrace:
        waited = max((lock.waited for lock in locks), default=0.0)
        if facts.get("attempts", 1) > 1:
            self.now += waited
        else:
            seconds += waited
        started, self.now = self.now, self.now + seconds
        return StatementTrace(sql, started, seconds, locks, **facts)

    def step(
        self, key: StepKey, *statements: tuple[Any, ...], hazards: tuple[HazardSeen, ...] = ()
    ) -> StepTrace:
        started = self.now
        self.now += 0.0004
        traced = []
        for sql, seconds, locks, facts in statements:
            traced.append(self.statement(sql, seconds, *locks, **facts))
        self.now += 0.0008
        return StepTrace(key, started, self.now - started, tuple(traced), hazards)


def say(sql: str, seconds: float, *locks: LockSeen, **facts: Any) -> tuple[Any, ...]:
    return sql, seconds, locks, facts


def batches(number: int) -> Iterator[tuple[Any, ...]]:
    """Yield what a backfill sends, as a tracer puts it together."""
    yield say(
        'UPDATE "store_order" SET "total" = "price" * "quantity" WHERE "id" > %s AND "id" <= %s AND "total" IS NULL',
        0.0985 * number,
        lock(ORDER, "RowExclusiveLock", 0.099),
        rows=20_000 * number,
        wal_bytes=4_812_800 * number,
        disk_bytes=2_007_040 * number,
        repeats=number,
    )


def forwards(direction: Direction, *, failing: bool) -> PassTrace:
    clock = Clock()
    steps = (
        clock.step(
            ADD,
            say(
                'ALTER TABLE "store_order" ADD COLUMN "total" numeric(10, 2) NULL',
                0.0031,
                lock(ORDER, AEL, 0.0034, 0.012),
            ),
        ),
        clock.step(
            DEFAULT,
            say(
                'ALTER TABLE "store_order" ALTER COLUMN "total" SET DEFAULT 0',
                0.0018,
                lock(ORDER, AEL, 0.002),
            ),
        ),
        clock.step(
            TRIGGER,
            say(LONG_SQL, 0.004),
            say(
                'CREATE TRIGGER "zz_store_order_total" BEFORE INSERT OR UPDATE ON "store_order" FOR EACH ROW EXECUTE FUNCTION "store_order_total_fill"()',
                0.0022,
                lock(ORDER, "ShareRowExclusiveLock", 0.0031),
            ),
        ),
        clock.step(FILL, *batches(1204)),
        clock.step(
            CHECK,
            say(
                'ALTER TABLE "store_order" ADD CONSTRAINT "store_order_total_set" CHECK ("total" IS NOT NULL) NOT VALID',
                0.0024,
                lock(ORDER, AEL, 0.0026),
            ),
        ),
        clock.step(
            VALIDATE,
            say(
                'ALTER TABLE "store_order" VALIDATE CONSTRAINT "store_order_total_set"',
                9.41,
                lock(ORDER, SUE, 9.42),
                scans=(ScanSeen(ORDER, 24_080_000),),
            ),
        ),
        clock.step(
            NOT_NULL,
            say(
                'ALTER TABLE "store_order" ALTER COLUMN "total" SET NOT NULL',
                0.0019,
                lock(ORDER, AEL, 0.0021, 0.31),
                attempts=3,
                waited=0.31,
            ),
        ),
        clock.step(
            INDEX,
            say(
                'CREATE INDEX CONCURRENTLY "order_customer_idx" ON "store_order" ("customer_id", "created_at" DESC)',
                41.7,
                lock(ORDER, SUE, 41.7),
                lock('"public"."order_customer_idx"', "RowExclusiveLock", 41.2),
                index_builds=('"public"."order_customer_idx"',),
                scans=(ScanSeen(ORDER, 48_160_000),),
                wal_bytes=540_672_000,
                disk_bytes=539_820_032,
                concurrent=True,
            ),
        ),
        clock.step(
            FOREIGN,
            say(
                'ALTER TABLE "store_item" ADD CONSTRAINT "store_item_order_fk" FOREIGN KEY ("order_id") REFERENCES "store_order" ("id") DEFERRABLE INITIALLY DEFERRED NOT VALID',
                0.0052,
                lock(ITEM, "ShareRowExclusiveLock", 0.006),
                lock(ORDER, "ShareRowExclusiveLock", 0.006),
            ),
        ),
        clock.step(
            FOREIGN_VALID,
            say(
                'ALTER TABLE "store_item" VALIDATE CONSTRAINT "store_item_order_fk"',
                66.3,
                lock(ITEM, SUE, 66.3),
                lock(ORDER, "AccessShareLock", 66.3),
                scans=(ScanSeen(ITEM, 71_400_000), ScanSeen(ORDER, 24_080_000)),
            ),
        ),
        clock.step(
            RAW,
            say(
                "SELECT refresh_archive() -- </script><script>alert('x')</script>",
                18.2 if failing else 0.2,
                lock(ARCHIVE, AEL if failing else SUE, 18.2 if failing else 0.2),
                lock(CUSTOMER, "AccessShareLock", 18.2 if failing else 0.2),
                rewrites=(ARCHIVE,) if failing else (),
                index_builds=('"Archive"."Old ""orders""_pkey"',) if failing else (),
                wal_bytes=1_470_000_000 if failing else 8192,
                disk_bytes=1_310_720_000 if failing else 0,
            ),
            hazards=(
                HazardSeen(
                    "DSM606",
                    'refresh_archive() rewrote "Archive"."Old ""orders""": every read and write of it would have waited for 18.2 s.',
                ),
            )
            if failing
            else (),
        ),
        clock.step(
            DROP,
            say('ALTER TABLE "store_order" DROP COLUMN "note"', 0.0028, lock(ORDER, AEL, 0.003)),
        ),
    )
    return PassTrace(
        direction, clock.now, steps, boundaries(failing=failing), load(failing=failing)
    )


SLOWER = (
    "old code: store.Order: save(): 14 times as long as before the plan (3.9 ms, then 55 ms).",
)
NOT_TRIED = ("store.Event: its table is not on the copy.",)


def boundaries(*, failing: bool) -> tuple[BoundaryCheck, ...]:
    who = [("old",)] * 11 + [("old", "new")] + [("new",)]
    broken = CallFailure(
        "old",
        "store.Order",
        "bulk_create([Order(…)])",
        'INSERT INTO "store_order" ("customer_id", "note", "created_at") VALUES (%s, %s, %s)',
        '23502 NotNullViolation: null value in column "total" of relation "store_order" violates not-null constraint\nDETAIL:  Failing row contains (24080001, <b>Ann & Bob\'s</b>, null).',
    )
    made = [BoundaryCheck(None, who[0], 48)]
    for place, step in enumerate(STEPS):
        failures = (broken,) if failing and place in (6, 7, 8, 9, 10) else ()
        made.append(
            BoundaryCheck(
                step,
                who[place + 1],
                48 * len(who[place + 1]),
                failures,
                NOT_TRIED,
                SLOWER if failures else (),
            )
        )
    return tuple(made)


def load(*, failing: bool) -> LoadSeen:
    errors = (
        '23502 null value in column "total" of relation "store_order" violates not-null constraint',
    )
    return LoadSeen(
        requests=181_204,
        failed=37 if failing else 0,
        p50=0.0021,
        p99=0.0312 if failing else 0.0081,
        longest=18.24 if failing else 0.052,
        baseline_p99=0.0068,
        errors=errors if failing else (),
        slowest=("18.2 s: store.Order filter(pk=…), during store.0013_archive_view 0",)
        if failing
        else (),
    )


def backwards() -> PassTrace:
    clock = Clock()
    steps = tuple(
        clock.step(
            step,
            say(
                f'ALTER TABLE "store_order" … -- undo {step.migration} {step.operation}',
                0.0027,
                lock(ORDER, AEL, 0.003),
            ),
        )
        for step in reversed(STEPS)
    )
    return PassTrace(Direction.BACKWARDS, clock.now, steps)


def estimates(*, failing: bool) -> tuple[Estimate, ...]:
    figures = {
        FILL: (1420.0, 0.0, 5_794_611_200, 2_416_476_160),
        VALIDATE: (11.2, 0.0, 0, 0),
        INDEX: (49.6, 0.0, 540_672_000, 539_820_032),
        FOREIGN_VALID: (78.9, 0.0, 0, 0),
        RAW: (21.6, 21.6, 1_470_000_000, 1_310_720_000) if failing else (0.24, 0.0, 0, 0),
    }
    return tuple(
        Estimate(step, *figures.get(step, (0.004, 0.0031, 1024, 0)), scaled=False) for step in STEPS
    )


def checklist(*, failing: bool) -> tuple[ItemSeen, ...]:
    met = "met"
    return (
        ItemSeen(
            "reversible", "Every change can be undone", met, "12 of 12 steps went back on the copy."
        ),
        ItemSeen(
            "rehearsed",
            "Tested on a copy of production data",
            "unmet" if failing else met,
            "The rehearsal found problems. Mend them and run: python manage.py rehearsemigrations"
            if failing
            else "Rehearsed 2026-11-23 05:14 UTC on a dump of 38 GB.",
        ),
        ItemSeen(
            "batched",
            "Large data migrations run in batches",
            met,
            "1,204 batches, the longest 0.098 s.",
        ),
        ItemSeen(
            "concurrent", "Indexes are created concurrently", met, "1 index, built concurrently."
        ),
        ItemSeen(
            "no_downtime",
            "No request fails or waits",
            "unmet" if failing else met,
            'store.0013_archive_view blocks reads and writes of "Archive"."Old ""orders""" for 18.2 s.'
            if failing
            else "The longest blocking lock was held for 3.4 ms.",
        ),
        ItemSeen(
            "backup",
            "There is a way back to the data",
            "waived",
            "nightly snapshot, 4 h old (deploy@ci)",
        ),
        ItemSeen(
            "rollback_plan", "The way back is written down", "off", "Switched off in the settings."
        ),
    )


@functools.cache
def rehearsal(*, failing: bool = True) -> Rehearsal:
    """Return a rehearsal of twelve steps in three passes."""
    return Rehearsal(
        plan_hash=HASH,
        database="default",
        migrations=tuple(dict.fromkeys(f"{step.app_label}.{step.migration}" for step in STEPS)),
        started_at=STARTED,
        finished_at=STARTED + timedelta(minutes=31, seconds=12),
        copy=CopyFacts(
            kind="dump",
            source="shop on db.internal",
            place="shop_rehearsal_9f2c on rehearsal.internal",
            server_version="PostgreSQL 18.1",
            size_bytes=41_231_686_042,
            seconds=734.0,
            notes=(
                "Production runs 17.4, the copy 18.1: NOT NULL constraints have names there.",
                'The extension "pg_cron" is not on the copy\'s server and was left out.',
            ),
        ),
        passes=(
            forwards(Direction.FORWARDS, failing=failing),
            backwards(),
            forwards(Direction.FORWARDS_AGAIN, failing=failing),
        ),
        round_trip=RoundTrip(
            schema_after_back=(
                'column "public"."store_order"."note": text NOT NULL at first, text afterwards',
                'index "public"."order_note_like": is gone',
            )
            if failing
            else (),
            not_compared=(
                "store_event: 210 million rows, over the limit for checksums; only counted.",
            ),
        ),
        estimates=estimates(failing=failing),
        checklist=checklist(failing=failing),
        rollback_plan=(
            "1. python manage.py safemigrate --rollback",
            "   undoes 12 steps of 8 migrations, in about 2 min (measured on the copy: 46 ms).",
            "",
            "Point of no return: store.0014_order_note_contract. What was in note is gone from then on,",
            "unless KEEP_DROPPED keeps it.",
        ),
        problems=(
            'store.0013_archive_view 0 rewrote "Archive"."Old ""orders""" under ACCESS EXCLUSIVE for 18.2 s '
            "(DSM606): reads and writes of it would have waited. Refresh it in batches, or into a new table that is "
            "swapped in.",
            "After store.0010_order_total_not_null 0.2 old code can't bulk_create store.Order: 23502, null value in "
            "column total. Keep the default until contract: run makemigrations again, which writes the helper "
            "default.",
            "The schema after going back is not what it was at the beginning: 2 differences, see Round trip.",
        )
        if failing
        else (),
        notes=(
            "store.0008_order_total_sync 0: CREATE TRIGGER blocked writes of store_order for 3.1 ms (DSM204); a moment.",
        ),
        package_version="0.1.0",
    )


def enormous(steps: int = 200, statements: int = 6) -> Rehearsal:
    """Return a rehearsal of many steps with many different statements."""
    keys = [
        StepKey(
            "store",
            f"{n // 2:04d}_change_of_things",
            str(n % 2),
            "expand",
            f"Change number {n} of the table",
        )
        for n in range(steps)
    ]

    def one(direction: Direction) -> PassTrace:
        clock = Clock()
        made = tuple(
            clock.step(
                step,
                *(
                    say(
                        f'UPDATE "table_{place % 40}" SET "column_{m}" = %s WHERE "id" IN ({", ".join(str(x) for x in range(60))})',
                        0.01 * (place % 7 + 1),
                        lock(f'"public"."table_{place % 40}"', AEL, 0.01),
                        lock(f'"public"."table_{place % 40}_pkey"', "RowExclusiveLock", 0.02),
                        lock(f'"public"."other_{place % 9}"', SUE, 0.02, 0.001),
                        rows=1000,
                        wal_bytes=100_000,
                        scans=(ScanSeen(f'"public"."table_{place % 40}"', 1000),),
                    )
                    for m in range(statements)
                ),
            )
            for place, step in enumerate(keys)
        )
        checks = tuple(BoundaryCheck(step, ("old", "new"), 96) for step in keys)
        return PassTrace(direction, clock.now, made, checks)

    return dataclasses.replace(
        rehearsal(failing=False),
        migrations=tuple(dict.fromkeys(f"{k.app_label}.{k.migration}" for k in keys)),
        passes=tuple(one(direction) for direction in Direction),
        estimates=tuple(Estimate(k, 1.0, 0.01, 1000, 0, scaled=True) for k in keys),
    )


def with_text(text: str) -> Rehearsal:
    """Return a rehearsal that says this wherever the database could have said something."""
    made: Rehearsal = replaced(rehearsal(), str, text)
    return made


def with_figure(number: float) -> Rehearsal:
    """Return a rehearsal that took this long wherever it measured something."""
    made: Rehearsal = replaced(rehearsal(), float, number)
    return made


def replaced(value: Any, kind: type, by: Any) -> Any:
    """Return a value with everything inside that is of a type replaced."""
    if type(value) is kind:
        return by
    if isinstance(value, tuple):
        return tuple(replaced(part, kind, by) for part in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {
            f.name: replaced(getattr(value, f.name), kind, by) for f in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **parts)
    return value


def hostile() -> Rehearsal:
    """Return a rehearsal of tables, models and errors with the worst of names."""
    names = [f'"public"."{text}"' for text in HOSTILE]
    keys = [StepKey("store", f"0001_{n}", "0", "expand", text) for n, text in enumerate(HOSTILE)]
    clock = Clock()
    steps = tuple(
        clock.step(
            step,
            say(
                f'ALTER TABLE {name} ADD COLUMN "x" text -- {text}',
                0.004,
                lock(name, AEL, 0.004, 0.002),
            ),
            hazards=(HazardSeen(text, text),),
        )
        for step, name, text in zip(keys, names, HOSTILE, strict=True)
    )
    checks = tuple(
        BoundaryCheck(step, ("old",), 3, (CallFailure("old", text, text, text, text),))
        for step, text in zip(keys, HOSTILE, strict=True)
    )
    return dataclasses.replace(
        rehearsal(),
        database=HOSTILE[1],
        migrations=tuple(text for text in HOSTILE if text.strip()),
        passes=(
            PassTrace(Direction.FORWARDS, clock.now, steps, checks, load(failing=True), HOSTILE[0]),
        ),
        estimates=(),
        round_trip=RoundTrip(HOSTILE, HOSTILE, (), HOSTILE, HOSTILE),
        problems=HOSTILE,
        rollback_plan=HOSTILE,
        copy=CopyFacts(*HOSTILE[:4], 1, 2.0, 0.05, HOSTILE),
        checklist=tuple(ItemSeen(text, text, "unmet", text) for text in HOSTILE[:7]),
    )


def empty() -> Rehearsal:
    """Return a rehearsal that ended before it began."""
    return Rehearsal(
        plan_hash="",
        database="default",
        migrations=(),
        started_at=STARTED,
        finished_at=STARTED,
        copy=CopyFacts("dump", "shop", "", "", 0, 0.0),
        passes=(),
        problems=("The copy could not be made.",),
    )
