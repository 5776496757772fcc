"""Reads SQL as words: comments gone, quoting resolved, statements told apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from sqlparse import lexer, tokens


class Kind(Enum):
    """What a word of SQL is."""

    NAME = auto()
    """A keyword, or an identifier without quotes."""
    QUOTED = auto()
    """An identifier in double quotes."""
    STRING = auto()
    """A string constant, dollar-quoted ones and placeholders included."""
    NUMBER = auto()
    SYMBOL = auto()


@dataclass(frozen=True)
class Word:
    """One word: what it is, and its text without its quotes."""

    kind: Kind
    text: str

    def is_(self, *keywords: str) -> bool:
        """Whether it is one of these keywords or symbols (a quoted name never is)."""
        return self.kind in (Kind.NAME, Kind.SYMBOL) and self.text.upper() in keywords

    @property
    def name(self) -> str:
        """The identifier as PostgreSQL knows it: without quotes, folded if it had none."""
        return self.text.lower() if self.kind is Kind.NAME else self.text

    @property
    def is_identifier(self) -> bool:
        """Whether it can name something."""
        return self.kind in (Kind.NAME, Kind.QUOTED)


@dataclass(frozen=True)
class SqlStatement:
    """One statement: its text, trimmed, and its words."""

    text: str
    words: tuple[Word, ...]


def read_statements(sql: str) -> list[SqlStatement]:
    """Split a string into its statements; what holds nothing but comments is left out.

    Semicolons in constants, in parentheses and in the body of a ``BEGIN ATOMIC`` function
    end no statement.
    """
    statements: list[SqlStatement] = []
    text: list[str] = []
    words: list[Word] = []
    depth = 0
    bodies = 0

    def finish() -> None:
        if words:
            statements.append(SqlStatement("".join(text).strip(), tuple(words)))
        text.clear()
        words.clear()

    for kind, value in _tokenize(sql):
        found = list(_words(kind, value))
        if any(word.is_(";") for word in found) and depth == 0 and bodies == 0:
            finish()
            continue
        # A comment before a statement does not belong to it.
        if words or found:
            text.append(value)
        for word in found:
            if word.is_("("):
                depth += 1
            elif word.is_(")"):
                depth = max(0, depth - 1)
            elif (word.is_("ATOMIC") and words and words[-1].is_("BEGIN")) or (
                bodies and word.is_("CASE")
            ):
                bodies += 1
            elif bodies and word.is_("END"):
                bodies -= 1
            words.append(word)
    finish()
    return statements


def _tokenize(sql: str) -> Iterator[tuple[tokens._TokenType, str]]:
    yield from lexer.tokenize(sql)  # type: ignore[no-untyped-call]


def _words(kind: tokens._TokenType, value: str) -> Iterator[Word]:
    """Turn one token of sqlparse into words: it reads pairs such as NOT NULL as one."""
    if kind in tokens.Whitespace or kind in tokens.Comment:
        return
    if kind in tokens.String.Symbol:
        yield Word(Kind.QUOTED, value[1:-1].replace('""', '"'))
    elif kind in tokens.String or kind is tokens.Literal or kind in tokens.Name.Placeholder:
        yield Word(Kind.STRING, value)
    elif kind in tokens.Number:
        yield Word(Kind.NUMBER, value)
    elif value[:1].isalpha() or value[:1] == "_":
        for part in value.split():
            yield Word(Kind.STRING if part.startswith("'") else Kind.NAME, part)
    else:
        yield Word(Kind.SYMBOL, value)


class Reader:
    """Walks over the words of a statement."""

    def __init__(self, words: tuple[Word, ...]) -> None:
        self.words = words
        self.at = 0

    @property
    def rest(self) -> tuple[Word, ...]:
        """The words not yet read."""
        return self.words[self.at :]

    def peek(self) -> Word | None:
        """The next word, or None at the end."""
        return self.words[self.at] if self.at < len(self.words) else None

    def accept(self, *keywords: str) -> bool:
        """Read these words, one after the other, if they come next."""
        upcoming = self.words[self.at : self.at + len(keywords)]
        if len(upcoming) == len(keywords) and all(
            word.is_(keyword) for word, keyword in zip(upcoming, keywords, strict=True)
        ):
            self.at += len(keywords)
            return True
        return False

    def accept_any(self, *keywords: str) -> str | None:
        """Read the next word if it is one of these, and return it in capitals."""
        word = self.peek()
        if word is not None and word.is_(*keywords):
            self.at += 1
            return word.text.upper()
        return None

    def name(self) -> str | None:
        """Read a name, with its schema if it has one: ``schema.name``."""
        parts: list[str] = []
        while (word := self.peek()) is not None and word.is_identifier:
            parts.append(word.name)
            self.at += 1
            if not self.accept("."):
                break
        return ".".join(parts) or None

    def skip_to(self, *keywords: str) -> str | None:
        """Read up to and over one of these words outside of parentheses; None if there is none."""
        depth = 0
        while (word := self.peek()) is not None:
            self.at += 1
            if depth == 0 and word.is_(*keywords):
                return word.text.upper()
            if word.is_("("):
                depth += 1
            elif word.is_(")"):
                depth -= 1
        return None


def has(words: tuple[Word, ...], *keywords: str) -> bool:
    """Whether these words stand next to each other, outside of parentheses."""
    flat = outside_parentheses(words)
    size = len(keywords)
    return any(
        all(word.is_(keyword) for word, keyword in zip(flat[i : i + size], keywords, strict=True))
        for i in range(len(flat) - size + 1)
    )


def outside_parentheses(words: tuple[Word, ...]) -> list[Word]:
    """Return the words that no parentheses enclose."""
    depth = 0
    flat = []
    for word in words:
        if word.is_("("):
            depth += 1
        elif word.is_(")"):
            depth -= 1
        elif depth == 0:
            flat.append(word)
    return flat


def split_list(words: tuple[Word, ...]) -> list[tuple[Word, ...]]:
    """Split at the commas outside of parentheses and brackets."""
    parts: list[tuple[Word, ...]] = []
    start = depth = 0
    for i, word in enumerate(words):
        if word.is_("(", "["):
            depth += 1
        elif word.is_(")", "]"):
            depth -= 1
        elif depth == 0 and word.is_(","):
            parts.append(words[start:i])
            start = i + 1
    parts.append(words[start:])
    return [part for part in parts if part]
