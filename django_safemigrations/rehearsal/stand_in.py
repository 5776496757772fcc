"""Lets a copy stand in for a database, under the same alias, for as long as a block runs."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

READ_ONLY = "-c default_transaction_read_only=on"


@contextlib.contextmanager
def standing_in(alias: str, entry: dict[str, Any]) -> Iterator[BaseDatabaseWrapper]:
    """Let every query of this process that names an alias go to a copy.

    Code in migrations may use models without naming a database, or name it "default": so the
    copy has to be found where they look. So do aliases that lead to the same place, and those
    whose TEST["MIRROR"] is this one. Every other alias that leads to PostgreSQL is opened
    read-only meanwhile; one of another vendor raises when it is used. What was open before is
    left as it is, locks and all, and serves again afterwards.

    Args:
        alias: of the database that is not to be touched.
        entry: how to reach the copy, as an entry of DATABASES.

    Yields:
        the connection to the copy.
    """
    settings: dict[str, dict[str, Any]] = connections.settings
    originals = dict(settings)
    opened = {wrapper.alias: wrapper for wrapper in connections.all(initialized_only=True)}
    stand_ins: dict[str, BaseDatabaseWrapper] = {}
    try:
        for name, original in originals.items():
            same = name == alias or _leads_to(original, originals[alias], alias)
            settings[name] = _complete(entry, original) if same else _read_only(original)
            connections[name] = stand_ins[name] = connections.create_connection(name)
        yield stand_ins[alias]
    finally:
        for name in stand_ins:
            with contextlib.suppress(Exception):
                stand_ins[name].close()
            if name in opened:
                connections[name] = opened[name]
            else:
                del connections[name]
        settings.update(originals)


def _leads_to(entry: dict[str, Any], original: dict[str, Any], alias: str) -> bool:
    """Return whether an entry is another name of a database, or of its replica."""
    if entry.get("TEST", {}).get("MIRROR") == alias:
        return True
    place = ("ENGINE", "NAME", "HOST", "PORT")
    return all(entry.get(key) == original.get(key) for key in place) and (
        entry.get("OPTIONS", {}).get("service") == original.get("OPTIONS", {}).get("service")
    )


def _complete(entry: dict[str, Any], original: dict[str, Any]) -> dict[str, Any]:
    """Return an entry with everything that Django fills in, as in the original one."""
    places = ("NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS", "CONN_MAX_AGE", "TEST")
    kept = {key: value for key, value in original.items() if key not in places}
    return {
        **kept,
        "NAME": "",
        "USER": "",
        "PASSWORD": "",
        "HOST": "",
        "PORT": "",
        "CONN_MAX_AGE": 0,
        "TEST": copy.deepcopy(original.get("TEST", {})),
        **copy.deepcopy(entry),
        "OPTIONS": dict(entry.get("OPTIONS", {})),
    }


def _read_only(original: dict[str, Any]) -> dict[str, Any]:
    settings = copy.copy(original)
    if "postgresql" in settings["ENGINE"] or "postgis" in settings["ENGINE"]:
        options = dict(settings.get("OPTIONS", {}))
        # A pool would hand out sessions that were opened before.
        options.pop("pool", None)
        options["options"] = f"{options.get('options', '')} {READ_ONLY}".strip()
        settings["OPTIONS"] = options
        return settings
    if settings["ENGINE"] == "django.db.backends.dummy":
        return settings
    return {**settings, "ENGINE": "django.db.backends.dummy"}
