"""The PostgreSQL server that tests, the demo and manage.py use: `DATABASE_URL`, or one of our own.

`DATABASE_URL` (postgres://user:password@host:port/name?option=value, sockets as `?host=/directory`
or a percent-encoded host) wins. Without it, `SAFEMIGRATIONS_PG` picks the version of a server that
is started on demand in the git-ignored `.postgres/`: 18 (default) and 16 from wheels, 15 and others
from the operating system's packages.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import psycopg
from psycopg import sql

from testproject.cluster import DATABASE_NAME, PORT, SUPERUSER, TEST_SETTINGS, Cluster

DEFAULT_VERSION = 18


@dataclass(frozen=True)
class Address:
    """Where a database is and how to log in; the parts of a `DATABASE_URL`."""

    name: str
    user: str = ""
    password: str = ""
    host: str = ""
    port: str = ""
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a postgres:// URL. Raises ValueError, without the password in its message."""
        parts = urlsplit(url)
        if parts.scheme not in ("postgres", "postgresql"):
            raise ValueError(
                f"DATABASE_URL starts with {parts.scheme or '(nothing)'}://, but only PostgreSQL "
                f"is supported: postgres://user:password@host:port/name"
            )
        # Not parts.hostname: it lower-cases, and a socket directory's name is case-sensitive.
        login, _, location = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        host, colon, port = location.rpartition(":")
        if not colon or port.endswith("]"):
            host, port = location, ""
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        name = options.pop("dbname", "") or unquote(parts.path.removeprefix("/"))
        if not name:
            raise ValueError("DATABASE_URL names no database: postgres://user@host:port/name")
        return cls(
            name=name,
            user=options.pop("user", "") or unquote(user),
            password=options.pop("password", "") or unquote(password),
            host=options.pop("host", "") or unquote(host).strip("[]"),
            port=options.pop("port", "") or port,
            options=tuple(sorted(options.items())),
        )

    def url(self, name: str | None = None) -> str:
        """The same place as a URL that libpq and `DATABASE_URL` both take."""
        login = quote(self.user, safe="")
        if self.password:
            login += ":" + quote(self.password, safe="")
        query = [("host", self.host), ("port", self.port), *self.options]
        return (
            f"postgresql://{login + '@' if login else ''}/{quote(name or self.name, safe='')}"
            f"?{urlencode([(key, value) for key, value in query if value])}"
        )

    def django(self, name: str | None = None) -> dict[str, Any]:
        """The same place as an entry of Django's DATABASES."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name or self.name,
            "USER": self.user,
            "PASSWORD": self.password,
            "HOST": self.host,
            "PORT": self.port,
            "OPTIONS": dict(self.options),
        }


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server to make databases on; `stop()` stops it if this process was its last."""

    address: Address
    cluster: Cluster | None = None

    @property
    def host(self) -> str:
        return self.address.host

    @property
    def port(self) -> str:
        return self.address.port

    @property
    def user(self) -> str:
        return self.address.user

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it is not ours (`DATABASE_URL`)."""
        return self.cluster.pid if self.cluster else None

    @cached_property
    def version(self) -> int:
        """The major version, as the server itself says."""
        with psycopg.connect(self.dsn("postgres")) as connection:
            return connection.info.server_version // 10000

    def dsn(self, dbname: str) -> str:
        """A URL for a database of this server, for psycopg.connect() and for `DATABASE_URL`."""
        return self.address.url(dbname)

    def django(self, dbname: str) -> dict[str, Any]:
        """A DATABASES entry for a database of this server."""
        return self.address.django(dbname)

    def create_database(self, name: str, template: str | None = None) -> None:
        """Create a database, as a copy of `template` when given (nobody may be connected to it)."""
        query = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            query += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        self._execute(query)

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, cutting off whoever is connected to it."""
        self._execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )

    def stop(self) -> None:
        """Let go of the server. It stops with the last process that uses it, so others go on."""
        if self.cluster is not None:
            self.cluster.leave()

    def _execute(self, query: sql.Composed) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(query)


def own_server(version: int, name: str, settings: Mapping[str, str] = TEST_SETTINGS) -> Server:
    """A server of our own in `.postgres/<name>`, started unless another process has done so."""
    cluster = Cluster(version=version, name=name, settings=settings)
    cluster.join()
    return Server(_own_address(cluster), cluster)


def _own_address(cluster: Cluster) -> Address:
    return Address(name=DATABASE_NAME, user=SUPERUSER, host=cluster.host, port=str(PORT))


def wanted_version() -> int:
    """The PostgreSQL version that `SAFEMIGRATIONS_PG` asks for."""
    raw = os.environ.get("SAFEMIGRATIONS_PG") or str(DEFAULT_VERSION)
    if not raw.isdecimal():
        raise ValueError(f"SAFEMIGRATIONS_PG={raw!r} is no PostgreSQL version; use 15, 16 or 18.")
    return int(raw)


@cache
def _server(version: int) -> Server:
    return own_server(version, str(version))


def server(version: int | None = None) -> Server:
    """The server to use, running: `DATABASE_URL`'s, else one of our own for tests.

    Args:
        version: a PostgreSQL major version; then it is always one of our own.
    """
    url = os.environ.get("DATABASE_URL")
    if version is None and url:
        return Server(Address.parse(url))
    found = _server(version or wanted_version())
    if found.cluster is not None:
        found.cluster.join()  # again after a stop()
    return found


def django_database() -> dict[str, Any]:
    """The default entry of DATABASES; starts our server and creates the shop's database on it.

    The test database is named after the process, so that test runs side by side do not collide.
    mypy's Django plugin imports settings only to read them, so it gets the entry of a server that
    may not be running.
    """
    url = os.environ.get("DATABASE_URL")
    if url:
        return Address.parse(url).django()
    if "mypy_django_plugin" in sys.modules:
        return Address(name=DATABASE_NAME, user=SUPERUSER).django()
    running = server()
    with contextlib.suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
        running.create_database(DATABASE_NAME)
    return {
        **running.django(DATABASE_NAME),
        "TEST": {"NAME": f"test_{DATABASE_NAME}_{os.getpid()}"},
    }
