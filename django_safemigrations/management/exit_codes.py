"""The exit codes of the commands."""

from __future__ import annotations

FAILED = 1
USAGE = 2
UNMET = 3
PENDING = 4
