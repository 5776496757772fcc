"""One application process of one code generation: threads that make ORM requests.

Run by path, with the generation's own copy of the shop first on PYTHONPATH, so that old and new
processes really run different models. Every half second it prints a JSON line with what was new;
when its standard input ends it finishes the requests under way, checks that none of its writes was
lost, and prints its last line.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import django

REPORT_EVERY = 0.5  # seconds
THINK = (0.01, 0.03)  # seconds between two requests of a thread


@dataclass
class Tally:
    """What one process saw since its last report; safe to share between its threads."""

    requests: int = 0
    failed: int = 0
    longest: float = 0.0
    longest_kind: str = ""
    errors: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, kind: str, seconds: float, error: str | None) -> None:
        with self.lock:
            self.requests += 1
            if seconds > self.longest:
                self.longest, self.longest_kind = seconds, kind
            if error is not None:
                self.failed += 1
                self.errors[f"{kind}: {error}"] += 1

    def take(self) -> dict[str, Any]:
        """The counts so far, which start again at zero."""
        with self.lock:
            taken = {
                "requests": self.requests,
                "failed": self.failed,
                "longest": self.longest,
                "longest_kind": self.longest_kind,
                "errors": dict(self.errors),
            }
            self.requests = self.failed = 0
            self.longest, self.longest_kind = 0.0, ""
            self.errors.clear()
            return taken


class WriteLost(Exception):
    """A row does not say what this thread, its only writer, wrote last."""


class Visitor:
    """One thread's requests: what a shop's views do, each in the ORM call that it is named after.

    Args:
        name: unique among all threads of all processes; prefixes the order numbers it makes.
        amount: the generation's name for the order's sum.
        orders: how many seeded orders there are, with the keys 1 to that; nobody deletes those.
    """

    def __init__(self, name: str, amount: str, orders: int) -> None:
        from django.db import transaction
        from django.utils import timezone

        from testproject.catalogue.models import Product
        from testproject.customers.models import Customer
        from testproject.shop.models import Order, OrderLine, Payment

        self.name, self.amount, self.orders = name, amount, orders
        self.atomic, self.now = transaction.atomic, timezone.now
        self.Order, self.OrderLine, self.Payment = Order, OrderLine, Payment
        self.random = random.Random(name)
        self.customers = list(Customer.objects.values_list("pk", flat=True)[:1000])
        self.products = list(Product.objects.values_list("pk", flat=True)[:500])
        self.written: dict[str, Decimal] = {}  # order number -> the sum this thread wrote last
        self.made = 0

    def requests(self) -> list[Callable[[], None]]:
        """The mix, the frequent ones several times."""
        return [
            *[self.get] * 5,
            *[self.filter_open] * 3,
            *[self.create] * 3,
            *[self.update] * 2,
            *[self.save] * 3,
            self.delete,
            self.get_or_create,
            self.update_or_create,
            *[self.select_for_update] * 2,
            self.bulk_create,
            self.bulk_update,
            self.pay,
        ]

    def _sum(self) -> Decimal:
        return Decimal(self.random.randrange(100, 100000)) / 100

    def _number(self) -> str:
        self.made += 1
        return f"{self.name}-{self.made}"

    def _values(self, amount: Decimal) -> dict[str, Any]:
        values: dict[str, Any] = {
            "customer_id": self.random.choice(self.customers),
            "placed_at": self.now(),
            self.amount: amount,
        }
        if self.random.random() < 0.5:  # else the model's own default: NULL in old code
            values["channel"] = self.random.choice(["shop", "phone"])
        return values

    def _someone(self) -> int:
        return self.random.randint(1, self.orders)

    def _mine(self) -> str | None:
        return self.random.choice(list(self.written)) if self.written else None

    def get(self) -> None:
        number = self._mine()
        if number is None:
            self.Order.objects.get(pk=self._someone())
            return
        order = self.Order.objects.get(number=number)
        if getattr(order, self.amount) != self.written[number]:
            raise WriteLost(f"{number}: {getattr(order, self.amount)}, not {self.written[number]}")

    def filter_open(self) -> None:
        lowest = self._someone()
        orders = self.Order.objects.filter(pk__gte=lowest, pk__lt=lowest + 200, status="open")
        list(orders.filter(**{f"{self.amount}__gt": 10}).select_related("customer")[:20])

    def create(self) -> None:
        number, amount = self._number(), self._sum()
        with self.atomic():
            order = self.Order.objects.create(number=number, **self._values(amount))
            self.OrderLine.objects.create(
                order=order, product_id=self.random.choice(self.products), quantity=1, unit_price=1
            )
        self.written[number] = amount

    def update(self) -> None:
        number, amount = self._mine(), self._sum()
        if number is None:
            self.Order.objects.filter(pk=self._someone()).update(status="paid")
            return
        self.Order.objects.filter(number=number).update(**{self.amount: amount})
        self.written[number] = amount

    def save(self) -> None:
        order = self.Order.objects.get(pk=self._someone())
        setattr(order, self.amount, self._sum())
        order.save()

    def delete(self) -> None:
        number = self._mine()
        if number is None:
            return
        self.Order.objects.filter(number=number).delete()
        del self.written[number]

    def get_or_create(self) -> None:
        number, amount = self._number(), self._sum()
        order, created = self.Order.objects.get_or_create(
            number=number, defaults=self._values(amount)
        )
        if not created:
            raise WriteLost(f"{order.number} was there before it was made")
        self.written[number] = amount

    def update_or_create(self) -> None:
        number, amount = self._mine() or self._number(), self._sum()
        self.Order.objects.update_or_create(number=number, defaults=self._values(amount))
        self.written[number] = amount

    def select_for_update(self) -> None:
        with self.atomic():
            order = self.Order.objects.select_for_update().get(pk=self._someone())
            setattr(order, self.amount, getattr(order, self.amount) + 1)
            order.save(update_fields=[self.amount])

    def bulk_create(self) -> None:
        rows = {self._number(): self._sum() for _ in range(5)}
        self.Order.objects.bulk_create(
            [self.Order(number=number, **self._values(amount)) for number, amount in rows.items()]
        )
        self.written.update(rows)

    def bulk_update(self) -> None:
        orders = list(self.Order.objects.filter(number__in=list(self.written)[:5]))
        rows = {order.number: self._sum() for order in orders}
        for order in orders:
            setattr(order, self.amount, rows[order.number])
        self.Order.objects.bulk_update(orders, [self.amount])
        self.written.update(rows)

    def pay(self) -> None:
        with self.atomic():
            order = self.Order.objects.select_for_update().get(pk=self._someone())
            self.Payment.objects.create(
                order=order, amount=getattr(order, self.amount), paid_at=self.now()
            )
            order.status = self.Order.Status.PAID
            order.save(update_fields=["status"])

    def lost_writes(self) -> list[str]:
        """The orders of this thread that are missing or do not hold the sum it wrote last."""
        found = dict(
            self.Order.objects.filter(number__in=list(self.written)).values_list(
                "number", self.amount
            )
        )
        return [number for number, amount in self.written.items() if found.get(number) != amount]


def visit(visitor: Visitor, tally: Tally, stop: threading.Event) -> None:
    """Make one request after the other, and record how long each took and what it raised."""
    from django.db import close_old_connections

    requests = visitor.requests()
    while not stop.wait(visitor.random.uniform(*THINK)):
        request = visitor.random.choice(requests)
        start, error = time.perf_counter(), None
        try:
            request()
        except Exception as raised:  # noqa: BLE001  an application's error page
            error = f"{type(raised).__name__}: {str(raised).strip().splitlines()[0]}"
        tally.record(request.__name__, time.perf_counter() - start, error)
        close_old_connections()


def report(tally: Tally, **more: Any) -> None:
    """Print one JSON line for the process that started this one."""
    print(json.dumps({**tally.take(), **more}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--amount", required=True)
    parser.add_argument("--orders", type=int, required=True)
    parser.add_argument("--threads", type=int, default=3)
    options = parser.parse_args()
    django.setup()

    tally, stop = Tally(), threading.Event()
    visitors = [
        Visitor(f"{options.name}-{number}", options.amount, options.orders)
        for number in range(options.threads)
    ]
    threads = [
        threading.Thread(target=visit, args=(visitor, tally, stop), daemon=True)
        for visitor in visitors
    ]
    report(tally, ready=True)
    for thread in threads:
        thread.start()

    ended = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    while not ended.wait(REPORT_EVERY):
        report(tally)
    stop.set()
    for thread in threads:
        thread.join()
    try:
        lost = [number for visitor in visitors for number in visitor.lost_writes()]
    except Exception as raised:  # noqa: BLE001  plain Django: the column is gone for old code
        report(tally, done=True, lost=0, check=f"{type(raised).__name__}")
    else:
        report(tally, done=True, lost=len(lost), examples=lost[:5])


if __name__ == "__main__":
    main()
