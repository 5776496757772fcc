"""Reads fenced blocks and headings out of the documentation.

A fence's first word is its language; the others are attributes that renderers ignore:

    ```python title="shop/models.py"      a file of the tutorial, written as it stands
    ```python title="settings.py" append  added to the end of that file
    ```console exit=3 answers="y"         commands, run by the tutorial's test
    ```python operations                  operations of a migration, to be evaluated
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
FENCE = "```"


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        path: the page.
        line: number of the opening fence.
        language: the first word after the fence.
        attributes: the others; the value of a bare word is empty.
        text: what is inside.
        lead: the last line of text above it.
    """

    path: Path
    line: int
    language: str
    text: str
    attributes: dict[str, str] = field(default_factory=dict)
    lead: str = ""

    @property
    def place(self) -> str:
        """Page and line, for messages and names of tests."""
        return f"{self.path.relative_to(DOCS)}:{self.line}"


def pages() -> list[Path]:
    """Return every page."""
    return sorted(DOCS.rglob("*.md"))


def blocks(path: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return list(_blocks(path))


def _blocks(path: Path) -> Iterator[Block]:
    opened: Block | None = None
    lines: list[str] = []
    lead = ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if opened is None and line.startswith(FENCE):
            language, *words = shlex.split(line.removeprefix(FENCE)) or [""]
            attributes = {key: value for key, _, value in (word.partition("=") for word in words)}
            opened, lines = Block(path, number, language, "", attributes, lead), []
        elif opened is not None and line == FENCE:
            yield replace(opened, text="".join(f"{line}\n" for line in lines))
            opened = None
        elif opened is not None:
            lines.append(line)
        elif line.strip():
            lead = line
    if opened is not None:
        raise ValueError(f"{opened.place}: the block is not closed")


def prose(path: Path) -> str:
    """Return a page without its fenced blocks."""
    inside = False
    kept: list[str] = []
    for line in path.read_text().splitlines():
        if line.startswith(FENCE):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def sections(path: Path, level: int) -> dict[str, str]:
    """Return the text below each heading of a level, up to the next heading as high."""
    found: dict[str, str] = {}
    heading = ""
    for line in path.read_text().splitlines():
        match = re.match(r"(#+) (.*)", line)
        if match and len(match[1]) <= level:
            heading = match[2].strip().strip("`") if len(match[1]) == level else ""
            if heading:
                found[heading] = ""
        elif heading:
            found[heading] += f"{line}\n"
    return found


def rows(text: str) -> list[list[str]]:
    """Return the cells of the tables in a text, without heads and rules."""
    found: list[list[str]] = []
    in_table = False
    for line in text.splitlines():
        if not line.startswith("|"):
            in_table = False
            continue
        cells = [cell.strip() for cell in line.strip()[1:-1].split("|")]
        if not in_table:
            in_table = True
        elif set(line) - set("|-: "):
            found.append(cells)
    return found


def anchors(path: Path) -> set[str]:
    """Return the anchors that a page's headings have on GitHub and in MkDocs."""
    found = set()
    for line in prose(path).splitlines():
        match = re.match(r"#+ (.*)", line)
        if match:
            text = re.sub(r"[^\w\- ]", "", match[1].replace("`", "").lower())
            found.add(text.strip().replace(" ", "-"))
    return found


def links(path: Path) -> list[str]:
    """Return where a page's links lead."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(path))
