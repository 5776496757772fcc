"""The release that this code is, and the mark of it on every connection to PostgreSQL."""

from __future__ import annotations

import hashlib
import logging
import os
import string
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_safemigrations.conf import get_settings
from django_safemigrations.exceptions import SettingsError

logger = logging.getLogger("django_safemigrations.releases")

VARIABLE = "SAFEMIGRATIONS_RELEASE"
MARK = "release="
# https://www.postgresql.org/docs/current/runtime-config-logging.html#GUC-APPLICATION-NAME
LONGEST_NAME = 63
LONGEST_RELEASE = 40
PLAIN = frozenset(string.ascii_letters + string.digits + ".-_+~:/")

_called: dict[Callable[[], str], str] = {}


def current_release() -> str:
    """Return the name of the release that this code is, in short; empty if it has none.

    Raises:
        SettingsError: SAFE_MIGRATIONS can't be used.
    """
    given = get_settings().release
    if given is None:
        given = os.environ.get(VARIABLE, "")
    if callable(given):
        if given not in _called:
            _called[given] = str(given() or "")
        given = _called[given]
    return short(given.strip())


def short(release: str) -> str:
    """Return a release as it fits into application_name; two that differ stay different."""
    if len(release) <= LONGEST_RELEASE and PLAIN.issuperset(release):
        return release
    plain = "".join(letter if letter in PLAIN else "-" for letter in release)
    digest = hashlib.sha256(release.encode()).hexdigest()[:8]
    return f"{plain[: LONGEST_RELEASE - 9]}~{digest}"


def release_in(application_name: str) -> str:
    """Return the release that a session's name tells; empty if it tells none."""
    before, mark, release = application_name.rpartition(MARK)
    return release if mark and before[-1:] in ("", " ") else ""


def tagged(application_name: str, release: str) -> str:
    """Return the name of an application with the mark behind it, in 63 bytes.

    The name is cut if there is no room; the mark is not.
    """
    tag = f"{MARK}{release}"
    if release_in(application_name):
        application_name = application_name.rpartition(MARK)[0]
    room = LONGEST_NAME - len(tag) - 1
    name = application_name.strip().encode()[:room].decode(errors="ignore").strip()
    return f"{name} {tag}" if name else tag


def install() -> None:
    """Mark every connection from now on."""
    connection_created.connect(mark, dispatch_uid="django_safemigrations.releases")


def mark(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Mark a new connection, and let those after it come with the mark.

    libpq keeps what the server reports of application_name, so looking costs no round trip.
    The first connection of a process is marked by a statement; after that the name is
    among the parameters of its alias, and goes with the connection's start. That also holds
    behind PgBouncer, which follows application_name.
    https://www.postgresql.org/docs/current/libpq-status.html#LIBPQ-PQPARAMETERSTATUS
    """
    raw = getattr(settings, "SAFE_MIGRATIONS", None) or {}
    if connection.vendor != "postgresql" or not (raw.get("RELEASE") or os.environ.get(VARIABLE)):
        return
    try:
        release = current_release()
    except SettingsError:
        # The system check says what is wrong; a request is no place for it.
        return
    except Exception:
        logger.exception("RELEASE could not be found out; the connection carries none")
        return
    if not release:
        return
    session: Any = connection.connection
    name = session.info.parameter_status("application_name") or ""
    wanted = tagged(name, release)
    if name == wanted:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('application_name', %s, false)", [wanted])
    except Error:
        logger.exception("the connection could not be marked with release %s", release)
        return
    options = connection.settings_dict.get("OPTIONS") or {}
    connection.settings_dict["OPTIONS"] = {**options, "application_name": wanted}
