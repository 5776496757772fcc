"""Private directories for dumps and servers: known to be in use by a lock, removed when it is gone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

PREFIX = "dsm_rehearsal_"
OWNER = "owner.json"
KEPT = "kept"
DATA = "data"
DUMP = "dump"
SOCKET = ".s.PGSQL.5432"
UNLOCKED_FOR = 3600.0
"""Seconds after which a directory without an owner's file was left by a crash."""


@dataclass(frozen=True)
class Workspace:
    """A directory that only we can read.

    Attributes:
        path: where it is.
    """

    path: Path

    @property
    def dump(self) -> Path:
        """Where the dump is put."""
        return self.path / DUMP

    @property
    def data(self) -> Path:
        """Where the server's data is put."""
        return self.path / DATA

    @property
    def passwords(self) -> Path:
        """Where the server's password is put when the workspace is kept."""
        return self.path / KEPT

    def keep(self, password: str) -> None:
        """Leave it behind, with a file that libpq reads the password from."""
        descriptor = os.open(self.passwords, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"*:*:*:*:{password}\n")


def base_directory(directory: str | None) -> Path:
    """Return where workspaces are made."""
    return Path(directory) if directory is not None else Path(tempfile.gettempdir())


@contextlib.contextmanager
def workspace(directory: str | None) -> Iterator[Workspace]:
    """Make a workspace, and remove it with the block unless it is kept.

    Args:
        directory: where; None for the system's temporary directory.

    Raises:
        OSError: it can't be made there.
    """
    base = base_directory(directory)
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Workspace(Path(tempfile.mkdtemp(prefix=PREFIX, dir=base)))
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_unless_kept, made.path)
        descriptor = os.open(made.path / OWNER, os.O_RDWR | os.O_CREAT, 0o600)
        stack.callback(os.close, descriptor)
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        who = {"pid": os.getpid(), "host": socket.gethostname(), "started": time.time()}
        os.write(descriptor, json.dumps(who).encode())
        yield made


def clean_up_workspaces(directory: str | None, progress: Callable[[str], None]) -> list[str]:
    """Remove the workspaces whose owners are gone, their servers first.

    Returns:
        the paths that were removed.
    """
    removed = []
    for path in sorted(base_directory(directory).glob(f"{PREFIX}*")):
        if not path.is_dir() or path.is_symlink() or (path / KEPT).exists():
            continue
        with contextlib.suppress(PermissionError):  # another user's
            if _abandoned(path):
                _stop_server(path)
                shutil.rmtree(path, ignore_errors=True)
                progress(f"Removed {path}, left by a rehearsal that was killed.")
                removed.append(str(path))
    return removed


def _abandoned(path: Path) -> bool:
    try:
        descriptor = os.open(path / OWNER, os.O_RDWR)
    except FileNotFoundError:
        return time.time() - path.stat().st_mtime > UNLOCKED_FOR
    try:
        if fcntl is None:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _stop_server(path: Path) -> None:
    """Stop the server of a workspace, if one answers there: its process id may be another's now."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        try:
            trial.connect(str(path / SOCKET))
            pid = int((path / DATA / "postmaster.pid").read_text().split("\n", 1)[0])
            os.kill(pid, signal.SIGQUIT)
        except (OSError, ValueError):
            return


def _remove_unless_kept(path: Path) -> None:
    if not (path / KEPT).exists():
        shutil.rmtree(path, ignore_errors=True)
