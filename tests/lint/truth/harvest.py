"""Turns the migrations of checkouts into cases, one JSON line each.

    python -m tests.lint.truth.harvest CHECKOUT [CHECKOUT …] > cases.jsonl

Nothing of the checkouts is run or kept: not their files, names or texts.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import django
from django.conf import settings
from django.db import models
from django.db.migrations import operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from tests.lint.truth.cases import Case
from tests.lint.truth.extract import Checkout, File
from tests.lint.truth.shapes import shape

CREATES_ONLY = (operations.CreateModel, operations.AlterModelOptions)
LONGEST = 2_000
"""Characters of a case as JSON; longer ones are left out, for the set stays small."""


def cases(checkout: Checkout, left_out: Counter[str]) -> Iterator[Case]:
    """Yield the cases of a project, in the order in which its migrations would run."""
    state = ProjectState()
    for file in checkout.files():
        before = state.clone()
        kept: list[Operation] = []
        for operation in file.operations:
            _add_missing_targets(before, state, file, operation)
            try:
                operation.state_forwards(file.key[0], state)
            except Exception:  # noqa: BLE001 - whatever was not understood before is missing here
                left_out["operation on what was left out"] += 1
            else:
                kept.append(operation)
        if all(isinstance(operation, CREATES_ONLY) for operation in kept):
            left_out["operations of migrations that only create models"] += len(kept)
            continue
        try:
            case = shape(before, file.key[0], kept, atomic=file.atomic, source=".".join(file.key))
            if len(case.as_json()) > LONGEST:
                left_out["operations of long migrations"] += len(kept)
            else:
                yield case
        except Exception as error:  # noqa: BLE001 - see above
            left_out["operations of migrations that can't be written down"] += len(kept)
            left_out[f"  {type(error).__name__}: {error}"[:80]] += 1


def _add_missing_targets(
    before: ProjectState, state: ProjectState, file: File, operation: Operation
) -> None:
    """Put a bare model where an operation points to one of another project."""
    fields = [getattr(operation, "field", None)]
    if isinstance(operation, operations.CreateModel):
        fields = [value for _, value in operation.fields]
    for inside in getattr(operation, "database_operations", None) or []:
        _add_missing_targets(before, state, file, inside)
    for inside in getattr(operation, "state_operations", None) or []:
        _add_missing_targets(before, state, file, inside)
    created = {
        (file.key[0], o.name_lower)
        for o in file.operations
        if isinstance(o, operations.CreateModel)
    }
    for value in fields:
        remote = getattr(value, "remote_field", None)
        for label in (getattr(remote, "model", None), getattr(remote, "through", None)):
            if not isinstance(label, str) or label == "self":
                continue
            app, _, name = label.rpartition(".")
            key = (app or file.key[0], name.lower())
            if key in state.models or key in created:
                continue
            for one in (before, state):
                if key not in one.models:
                    one.add_model(ModelState(*key, [("id", models.AutoField(primary_key=True))]))


def merged(found: Iterator[Case]) -> list[Case]:
    """Return the cases with equal ones counted together."""
    known: dict[str, Case] = {}
    for case in found:
        earlier = known.get(case.identity)
        known[case.identity] = replace(earlier, count=earlier.count + 1) if earlier else case
    return list(known.values())


def main(paths: list[str]) -> None:
    """Write the cases to standard output, and what was left out to standard error."""
    warnings.simplefilter("ignore")
    if not settings.configured:
        settings.configure(USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
    django.setup()
    everything: list[Case] = []
    for path in paths:
        checkout = Checkout(Path(path))
        left_out: Counter[str] = Counter()
        found = list(cases(checkout, left_out))
        everything += found
        number = sum(len(case.operations) for case in found)
        sys.stderr.write(f"{Path(path).name}: {len(found)} migrations, {number} operations\n")
        for what, times in (checkout.left_out + left_out).most_common():
            sys.stderr.write(f"    {times:5} {what}\n")
    for case in merged(iter(everything)):
        sys.stdout.write(f"{case.as_json()}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
