"""Traffic as the demo sees it: processes of one code generation, and what all of them report."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from testproject.demo.project import Project

PROCESSES = 2  # of each code generation
STOP_WITHIN = 120  # seconds; a request may be waiting for a lock


@dataclass
class Total:
    """What the processes of one code generation have reported so far."""

    requests: int = 0
    failed: int = 0
    lost: int = 0
    longest: float = 0.0
    longest_kind: str = ""
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def broken(self) -> int:
        """Requests that raised, and writes that were answered but are not in the database."""
        return self.failed + self.lost

    def add(self, line: dict[str, object]) -> None:
        self.requests += int(str(line["requests"]))
        self.failed += int(str(line["failed"]))
        self.lost += int(str(line.get("lost", 0)))
        longest = float(str(line["longest"]))
        if longest > self.longest:
            self.longest, self.longest_kind = longest, str(line["longest_kind"])
        errors = line["errors"]
        if isinstance(errors, dict):
            self.errors.update(errors)
        if line.get("lost"):
            self.errors[f"write lost: {line.get('examples')}"] += 1


class Traffic:
    """The processes of one code generation, from start to stop.

    Args:
        name: of the generation; also names its orders.
        project: the copy of the shop that they run.
        amount: that copy's name for the order's sum.
        orders: how many orders were seeded.
    """

    def __init__(self, name: str, project: Project, amount: str, orders: int) -> None:
        self.name, self.total = name, Total()
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[str]] = []
        self._readers: list[threading.Thread] = []
        self._ready = threading.Semaphore(0)
        self._stopped = False
        worker = Path(__file__).with_name("traffic.py")
        for number in range(PROCESSES):
            arguments = ["--name", f"{name}{number}", "--amount", amount, "--orders", str(orders)]
            process = subprocess.Popen(
                [sys.executable, "-P", str(worker), *arguments],
                env=project.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            reader = threading.Thread(target=self._read, args=(process,), daemon=True)
            reader.start()
            self._processes.append(process)
            self._readers.append(reader)
        for _ in range(PROCESSES):
            if not self._ready.acquire(timeout=60):
                raise RuntimeError(f"a process of the {name} code did not start within a minute")

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        done = False
        try:
            for text in process.stdout:
                line = json.loads(text)
                with self._lock:
                    self.total.add(line)
                done = done or bool(line.get("done"))
                if line.get("ready"):
                    self._ready.release()
        finally:
            if not done:  # it crashed: whatever it was serving failed
                with self._lock:
                    self.total.failed += 1
                    self.total.errors[f"a {self.name} process ended early"] += 1
                self._ready.release()

    def stop(self) -> None:
        """Let every process finish its requests and check its writes; kill one that does not."""
        if self._stopped:
            return
        self._stopped = True
        for process in self._processes:
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
        deadline = time.monotonic() + STOP_WITHIN
        for process, reader in zip(self._processes, self._readers, strict=True):
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            reader.join()

    def summary(self) -> str:
        """One phrase for the progress line."""
        with self._lock:
            total = self.total
            return (
                f"{self.name} code {total.requests:,} requests, {total.broken:,} failed, "
                f"longest {total.longest * 1000:,.0f} ms"
            )
