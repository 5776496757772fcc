"""The names that a function sees while it is read."""

from __future__ import annotations

from dataclasses import dataclass, field

from django_safemigrations.lint.python.names import Names
from django_safemigrations.lint.python.values import Value


@dataclass
class Scope:
    """Local names, those of the functions around it, and those of the module.

    Attributes:
        names: of the module.
        around: the scope of the function in which this one is defined.
        local: what has been assigned so far.
    """

    names: Names
    around: Scope | None = None
    local: dict[str, Value] = field(default_factory=dict)

    def find(self, name: str) -> Value:
        """Return what a name stands for."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.local:
                return scope.local[name]
            scope = scope.around
        return self.names.find(name)

    def bind(self, name: str, value: Value) -> None:
        """Assign a local name."""
        self.local[name] = value
