"""Which migration comes before which, as one integer of bits for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Key = tuple[str, str]


class Ancestry:
    """The migrations that were walked, each with everything that it depends on.

    Parents have to be added before their children. A bit a migration keeps this small: the
    histories of 1,500 files take 280 kB, and a question is one AND.
    """

    def __init__(self) -> None:
        self._keys: list[Key] = []
        self._bit: dict[Key, int] = {}
        self._before: dict[Key, int] = {}

    def add(self, key: Key, parents: Iterable[Key], replaced: Iterable[Key] = ()) -> None:
        """Take a migration in.

        Args:
            key: the migration.
            parents: what it depends on directly; unknown keys are left out.
            replaced: the migrations in whose place a squashed one stands.
        """
        before = 0
        for parent in parents:
            if parent in self._bit:
                before |= self._before[parent] | self._bit[parent]
        for other in replaced:
            self._bit.setdefault(other, self._next(other))
            self._before.setdefault(other, before)
            before |= self._bit[other]
        self._before[key] = before
        self._bit.setdefault(key, self._next(key))

    def add_after_all(self, key: Key) -> None:
        """Take in a migration that is outside of the graph: all that were walked are before it."""
        self._before[key] = (1 << len(self._keys)) - 1
        self._bit.setdefault(key, self._next(key))

    def depends(self, later: Key, earlier: Key) -> bool:
        """Return whether one migration depends on another, directly or not."""
        return bool(self._before.get(later, 0) & self._bit.get(earlier, 0))

    def only(self, key: Key, other: Key) -> Iterator[Key]:
        """Yield a migration and what it depends on, without what another one depends on."""
        own = self._before.get(key, 0) | self._bit.get(key, 0)
        rest = own & ~(self._before.get(other, 0) | self._bit.get(other, 0))
        while rest:
            lowest = rest & -rest
            yield self._keys[lowest.bit_length() - 1]
            rest ^= lowest

    def _next(self, key: Key) -> int:
        known = self._bit.get(key)
        if known is not None:
            return known
        self._keys.append(key)
        return 1 << (len(self._keys) - 1)
