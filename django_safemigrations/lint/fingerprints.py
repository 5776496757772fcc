"""Tells an operation by its text, whatever its place, its layout and its comments."""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterator

from django_safemigrations.lint.source import Place, Source, place_of

LENGTH = 16
LAYOUT = frozenset(
    {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
)


def fingerprint(source: Source, position: str | None) -> str:
    """Return a hash of an operation's text and of the functions that it is written with.

    The tokens count, so that a formatter changes nothing: neither lines nor comments, trailing
    commas or the kind of quotes. Python's syntax tree is not used, since what it is printed as
    differs between versions of Python, and a baseline is written on one and read on another.

    Returns:
        16 hexadecimal digits; empty if the operation is not in the file.
    """
    place = place_of(source, position)
    if place is None:
        return ""
    lines = source.text.splitlines(keepends=True)
    functions = [source.functions[name] for name in source.names.get(position or "", ())]
    digest = hashlib.sha256()
    for part in (place, *functions):
        for word in _words(_cut(lines, part)):
            digest.update(word.encode())
    return digest.hexdigest()[:LENGTH]


def _cut(lines: list[str], place: Place) -> str:
    return "".join(lines[place.first - 1 : place.last])


def _words(text: str) -> Iterator[str]:
    """Yield the tokens that mean something; what can't be cut into tokens is yielded whole."""
    pending = ""
    try:
        # Inside of brackets, indentation means nothing.
        for token in tokenize.generate_tokens(io.StringIO(f"(\n{text})\n").readline):
            if token.type in LAYOUT:
                continue
            if pending and token.string not in (")", "]", "}"):
                yield pending
            pending = ""
            if token.string == ",":
                pending = ","
            elif token.type == tokenize.STRING:
                yield _plain(token.string)
            else:
                yield token.string
    except (tokenize.TokenError, SyntaxError):
        yield text


def _plain(string: str) -> str:
    try:
        return repr(ast.literal_eval(string))
    except (ValueError, SyntaxError):
        return string
