"""Text from the database made fit to be shown: what can't be seen, or reorders text, gets a sign."""

from __future__ import annotations

import dataclasses
import functools
import unicodedata
from typing import Any, TypeVar

T = TypeVar("T")

KEPT = frozenset("\n\t")
# Control, format (bidirectional overrides, zero width), surrogates, line and paragraph separators.
SIGNED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Joins and splits letters in Persian, Indic scripts and emoji; shows nothing that is not there.
JOINERS = frozenset("\u200c\u200d")


def visible(text: str) -> str:
    """Return a text in which nothing is hidden and nothing is reordered.

    Control and other invisible characters become their code points ("⟨U+202E⟩"): a name can't
    then pass for another one, nor rearrange the text around it (Unicode Technical Report 36,
    "Unicode Security Considerations", section 2).
    """
    if "\r\n" in text:
        text = text.replace("\r\n", "\n")
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    signed = "".join(_sign(character) for character in text)
    return text if signed == text else signed


def _sign(character: str) -> str:
    if character in KEPT or character in JOINERS:
        return character
    code = ord(character)
    no_character = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code < 0xFDF0
    if no_character or unicodedata.category(character) in SIGNED:
        return f"⟨U+{code:04X}⟩"
    return character


def all_visible(value: T) -> T:
    """Return a frozen value with every text inside made `visible`."""
    made: Any = _all_visible(value)
    return made  # type: ignore[no-any-return]


def _all_visible(value: Any) -> Any:
    if type(value) is str:
        return visible(value)
    if isinstance(value, tuple):
        parts = tuple(_all_visible(part) for part in value)
        return parts if any(a is not b for a, b in zip(parts, value, strict=True)) else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        before = {name: getattr(value, name) for name in _field_names(type(value))}
        after = {name: _all_visible(part) for name, part in before.items()}
        changed = any(after[name] is not part for name, part in before.items())
        return dataclasses.replace(value, **after) if changed else value
    return value


@functools.cache
def _field_names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(kind))


@functools.lru_cache(maxsize=4096)
def relation_name(relation: str) -> str:
    """Return a quoted relation shorter where nothing is lost: without "public", plain names bare."""
    parts = _quoted_parts(relation)
    if not parts:
        return relation
    if len(parts) == 2 and parts[0] == '"public"':
        del parts[0]
    return ".".join(part[1:-1] if _is_plain(part[1:-1]) else part for part in parts)


def _quoted_parts(relation: str) -> list[str]:
    """Return the parts of ``"a"."b"``; none if it is written in any other way."""
    parts: list[str] = []
    rest = relation
    while rest:
        if not rest.startswith('"'):
            return []
        end = 1
        while (end := rest.find('"', end)) != -1 and rest[end : end + 2] == '""':
            end += 2
        if end == -1:
            return []
        parts.append(rest[: end + 1])
        rest = rest[end + 1 :]
        if rest and (not rest.startswith(".") or rest == "."):
            return []
        rest = rest[1:]
    return parts


def _is_plain(name: str) -> bool:
    return (
        name.isascii()
        and name.replace("_", "a").isalnum()
        and name == name.lower()
        and not name[0].isdigit()
    )
