"""Functions that work in batches: in one transaction each, or all in one."""

from __future__ import annotations

from tests.lint.python_functions.case import Case

KEYSET = """
def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    last = 0
    while True:
        keys = list(
            Order.objects.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:1000]
        )
        if not keys:
            break
        Order.objects.filter(pk__in=keys).update(discount=0)
        last = keys[-1]
"""

WALRUS = """
def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    orders = Order.objects.filter(discount=None).order_by("pk")
    while keys := list(orders.values_list("pk", flat=True)[:1000]):
        Order.objects.filter(pk__in=keys).update(discount=0)
"""

SUBQUERY = """
def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    missing = Order.objects.filter(discount=None)
    while missing.exists():
        Order.objects.filter(pk__in=missing.values("pk")[:1000]).update(discount=0)
"""

RANGE = """
from django.db.models import Max, Min

def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    ends = Order.objects.aggregate(low=Min("pk"), high=Max("pk"))
    for start in range(ends["low"] or 0, (ends["high"] or 0) + 1, 1000):
        Order.objects.filter(pk__range=(start, start + 999)).update(discount=0)
"""

BOUNDS = """
def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    highest = Order.objects.order_by("-id").values_list("id", flat=True).first() or 0
    start = 0
    while start <= highest:
        Order.objects.filter(id__gte=start, id__lt=start + 5000, discount=None).update(discount=0)
        start += 5000
"""

CHAINED_BOUNDS = """
def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    low = 0
    while low < 10_000_000:
        part = Order.objects.filter(pk__gt=low).filter(pk__lte=low + 1000)
        part.update(discount=0)
        low += 1000
"""

FLUSH = """
def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    batch = []
    for order in Order.objects.filter(reference="").iterator(chunk_size=1000):
        order.reference = f"A{order.pk}"
        batch.append(order)
        if len(batch) >= 1000:
            Order.objects.bulk_update(batch, ["reference"])
            batch = []
    if batch:
        Order.objects.bulk_update(batch, ["reference"])
"""

FLUSH_CLEAR = """
SIZE = 500

def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    batch = []
    for number, order in enumerate(Order.objects.filter(total=None).iterator(), start=1):
        order.total = 0
        batch.append(order)
        if number % SIZE == 0:
            Order.objects.bulk_update(batch, ["total"])
            batch.clear()
    Order.objects.bulk_update(batch, ["total"])
"""

FLUSH_IN_HELPER = """
def write(Order, batch):
    Order.objects.bulk_update(batch, ["total"], batch_size=200)

def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    batch = []
    for order in Order.objects.filter(total=None).iterator():
        order.total = 0
        batch.append(order)
        if len(batch) == 200:
            write(Order, batch)
            batch = []
    write(Order, batch)
"""

ISLICE = """
from itertools import islice

def run(apps, schema_editor):
    Event = apps.get_model("store", "Event")
    events = Event.objects.filter(text="").iterator()
    while part := list(islice(events, 1000)):
        for event in part:
            event.text = event.kind
        Event.objects.bulk_update(part, ["text"])
"""

GENERATOR = """
def slices(rows, size=1000):
    start = 0
    while True:
        keys = list(rows.filter(pk__gt=start).order_by("pk").values_list("pk", flat=True)[:size])
        if not keys:
            return
        yield keys
        start = keys[-1]

def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    for keys in slices(Order.objects.filter(discount=None)):
        Order.objects.filter(pk__in=keys).update(discount=0)
"""

KEYS_IN_CHUNKS = """
def chunks(values, size):
    for start in range(0, len(values), size):
        yield values[start : start + size]

def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    keys = list(Order.objects.filter(discount=None).values_list("pk", flat=True))
    for part in chunks(keys, 1000):
        Order.objects.filter(pk__in=part).update(discount=0)
"""

BATCHED = """
try:
    from itertools import batched
except ImportError:  # Python 3.11
    from itertools import islice

    def batched(rows, size):
        rows = iter(rows)
        while part := tuple(islice(rows, size)):
            yield part

def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    for part in batched(Order.objects.filter(total__lt=0).iterator(), 1000):
        for order in part:
            order.total = 0
        Order.objects.bulk_update(part, ["total"])
"""

SAVED_IN_BATCHES = """
from django.db import transaction

def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    while True:
        with transaction.atomic():
            part = list(Order.objects.select_for_update().filter(reference="")[:500])
            if not part:
                break
            for order in part:
                order.reference = f"A{order.pk}"
                order.save(update_fields=["reference"])
"""

PAGES = """
from django.core.paginator import Paginator

def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    pages = Paginator(Order.objects.order_by("pk"), 1000)
    for number in pages.page_range:
        part = pages.page(number).object_list
        for order in part:
            order.discount = 0
        Order.objects.bulk_update(part, ["discount"])
"""

DELETED = """
def run(apps, schema_editor):
    Event = apps.get_model("store", "Event")
    while True:
        keys = Event.objects.filter(kind="debug").values_list("pk", flat=True)[:2000]
        deleted, _ = Event.objects.filter(pk__in=list(keys)).delete()
        if not deleted:
            break
"""

INSERTED = """
def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    Event = apps.get_model("store", "Event")
    last = 0
    while True:
        orders = list(Order.objects.filter(pk__gt=last, event=None).order_by("pk")[:1000])
        if not orders:
            break
        last = orders[-1].pk
        Event.objects.bulk_create([Event(order=order, kind="made") for order in orders])
"""

SLEEPING = """
import time

def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    missing = Order.objects.filter(discount=None)
    while keys := list(missing.values_list("pk", flat=True)[:1000]):
        Order.objects.filter(pk__in=keys).update(discount=0)
        time.sleep(0.1)
"""

PER_DAY = """
from datetime import date, timedelta

def run(apps, schema_editor):
    Event = apps.get_model("store", "Event")
    day = date(2024, 1, 1)
    while day < date(2025, 1, 1):
        following = day + timedelta(days=1)
        Event.objects.filter(created_at__gte=day, created_at__lt=following).update(text="")
        day = following
"""

SHORT_TRANSACTIONS = """
from django.db import transaction

def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    for start in range(0, 1_000_000, 1000):
        with transaction.atomic():
            part = Order.objects.select_for_update().filter(pk__range=(start, start + 999))
            for order in part:
                order.total = abs(order.total)
            Order.objects.bulk_update(part, ["total"])
"""

IN_BATCHES = {
    "keyset": KEYSET,
    "keyset with a walrus": WALRUS,
    "a slice in a subquery": SUBQUERY,
    "ranges of keys": RANGE,
    "bounds of keys": BOUNDS,
    "bounds in two filters": CHAINED_BOUNDS,
    "a list that is written when it is full": FLUSH,
    "a list that is written every so often": FLUSH_CLEAR,
    "a list that a helper writes": FLUSH_IN_HELPER,
    "slices of an iterator": ISLICE,
    "a generator of keys": GENERATOR,
    "all keys in chunks": KEYS_IN_CHUNKS,
    "batched": BATCHED,
    "rows saved in short transactions": SAVED_IN_BATCHES,
    "pages": PAGES,
    "deleted in batches": DELETED,
    "inserted in batches": INSERTED,
    "a pause after each batch": SLEEPING,
    "a day at a time": PER_DAY,
    "a short transaction a range": SHORT_TRANSACTIONS,
}

TOGETHER = """
from django.db import transaction

def run(apps, schema_editor):
    Order = apps.get_model("store", "Order")
    with transaction.atomic():
        for start in range(0, 1_000_000, 1000):
            Order.objects.filter(pk__range=(start, start + 999)).update(total=0)
"""

CASES = (
    *(Case(f"{name}, committed one by one", text, (), False) for name, text in IN_BATCHES.items()),
    *(
        Case(
            f"{name}, all in the migration's transaction",
            text,
            ("DSM402", "DSM709") if "time.sleep" in text else ("DSM402",),
        )
        for name, text in IN_BATCHES.items()
    ),
    Case("batches in one block", TOGETHER, ("DSM402",), False),
    Case(
        "inserted again by a second run",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Event = apps.get_model("store", "Event")
            batch = []
            for order in Order.objects.iterator():
                batch.append(Event(order=order, kind="made"))
                if len(batch) >= 1000:
                    Event.objects.bulk_create(batch)
                    batch = []
            Event.objects.bulk_create(batch)
        """,
        ("DSM712",),
        False,
    ),
    Case(
        "conflicts ignored by a second run",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Line = apps.get_model("store", "Line")
            batch = []
            for order in Order.objects.iterator():
                batch.append(Line(order=order, product_id=1))
                if len(batch) >= 1000:
                    Line.objects.bulk_create(batch, ignore_conflicts=True)
                    batch = []
            Line.objects.bulk_create(batch, ignore_conflicts=True)
        """,
        (),
        False,
    ),
    Case(
        "created again by a second run",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Tag = apps.get_model("store", "Tag")
            for order in Order.objects.iterator():
                Tag.objects.create(label=order.reference)
        """,
        ("DSM701", "DSM712"),
        False,
    ),
    Case(
        "got or created by a second run",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Tag = apps.get_model("store", "Tag")
            for order in Order.objects.iterator():
                Tag.objects.get_or_create(label=order.reference)
        """,
        ("DSM701",),
        False,
    ),
    Case(
        "created only where it isn't",
        """
        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            Event = apps.get_model("store", "Event")
            for order in Order.objects.filter(event=None).iterator():
                Event.objects.create(order=order, kind="made")
        """,
        ("DSM701",),
        False,
    ),
    Case(
        "added to again by a second run",
        """
        from django.db.models import F

        def run(apps, schema_editor):
            Order = apps.get_model("store", "Order")
            for start in range(0, 20_000, 1000):
                Order.objects.filter(pk__range=(start, start + 999)).update(total=F("total") + 1)
        """,
        ("DSM712",),
        False,
    ),
    Case(
        "multiplied again by a second run",
        """
        from django.db.models import F

        def run(apps, schema_editor):
            Line = apps.get_model("store", "Line")
            last = 0
            while keys := list(
                Line.objects.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:1000]
            ):
                Line.objects.filter(pk__in=keys).update(quantity=F("quantity") * 100)
                last = keys[-1]
        """,
        ("DSM712",),
        False,
    ),
    Case(
        "RunInBatches",
        """
        from django_safemigrations.operations import RunInBatches, UpdateRows
        """,
        (),
        False,
        'RunInBatches("order", UpdateRows({"discount": 0}), RunInBatches.noop)',
    ),
)
