"""Runs a callable in a forked process with database connections of its own."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from tests.kit.databases import forget_inherited_connections

RAISED = 70
"""Exit code of a child whose callable raised; its traceback is on the pipe."""


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        signal: the signal that killed it, or 0.
        error: the traceback of what it raised, or "".
    """

    signal: int
    error: str


def fork(work: Callable[[], None]) -> tuple[int, int]:
    """Start `work` in a forked child; return its pid and a pipe that carries its traceback.

    The child never returns to the caller's code and runs no exit handlers: those belong to
    the parent (one of them stops the server).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    code = 0
    try:
        os.close(reading)
        gc.freeze()  # the parent's objects are not the child's to finalise
        forget_inherited_connections()
        work()
    except BaseException:  # noqa: BLE001 - the child must not escape into the parent's code
        os.write(writing, traceback.format_exc().encode()[-60_000:])
        code = RAISED
    finally:
        os._exit(code)


def wait_for(pid: int, pipe: int) -> Ended:
    """Wait for a child's end and collect what it left on its pipe."""
    with os.fdopen(pipe, "rb") as stream:
        error = stream.read().decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if not killed and os.waitstatus_to_exitcode(status) and not error:
        error = f"exit code {os.waitstatus_to_exitcode(status)}"
    return Ended(killed, error)


def kill_me() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)
