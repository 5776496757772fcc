"""Writes a way back into a file that only its owner can read."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from django.core.management.base import CommandError

from django_safemigrations.management.exit_codes import FAILED
from django_safemigrations.rollback_plans import RollbackPlan


def write_plan(plan: RollbackPlan, name: str) -> None:
    """Write a way back, as JSON if the name ends with .json; what was there is replaced as a whole.

    Raises:
        CommandError: it can't be written; says why.
    """
    path = Path(name)
    text = "\n".join(plan.lines())
    if path.suffix == ".json":
        text = json.dumps(plan.as_json(), indent=2)
    # Beside it, so that a file of somebody else, or a link, is replaced and not written to.
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"{text}\n")
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CommandError(
            f"--rollback-plan {name}: {error.strerror}; nothing was changed. Name a file in a "
            "directory that can be written to.",
            returncode=FAILED,
        ) from error
