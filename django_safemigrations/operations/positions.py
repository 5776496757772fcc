"""Where an operation stands in the files, which it does not know by itself."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation


@dataclass(frozen=True)
class Position:
    """The place of an operation.

    Attributes:
        app_label: the migration's app.
        migration: the migration's name; "" if the operation stands in no file.
        index: its index in `operations`, nested as "3.0".
        told: what it says of itself, for operations that stand in no file.
    """

    app_label: str
    migration: str
    index: str
    told: str = ""

    def __str__(self) -> str:
        if not self.migration:
            return f"{self.app_label}: {self.told}"
        return f"{self.app_label}.{self.migration} operation {self.index}"


def position_of(operation: Operation, app_label: str) -> Position:
    """Find an operation among the migrations that this process has loaded."""
    try:
        package, _ = MigrationLoader.migrations_module(app_label)
    except LookupError:
        # The state's app is none of the installed ones.
        package = None
    before = f"{package}."
    for name, module in list(sys.modules.items()):
        if package is None or not name.startswith(before):
            continue
        found = getattr(getattr(module, "Migration", None), "operations", ())
        for index, other in walked(found):
            if other is operation:
                return Position(app_label, name.removeprefix(before), index)
    return Position(app_label, "", "", operation.describe())


def walked(operations: Iterable[Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield operations and, at any depth, what containers of them run, with their indexes."""
    for number, operation in enumerate(operations):
        index = f"{before}{number}"
        yield index, operation
        yield from walked(getattr(operation, "database_operations", ()), f"{index}.")
