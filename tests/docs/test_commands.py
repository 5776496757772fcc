"""Every command of ours on every page can be typed as it stands: options and choices exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
from django.core.management import load_command_class
from django.core.management.base import CommandError

from tests.docs.markdown import DOCS, blocks, pages

OURS = (
    "safemigrate",
    "rehearsemigrations",
    "runbackfill",
    "lintmigrations",
    "makemigrations",
    "migrate",
)
FENCES = ("sh", "bash", "console", "yaml", "text")
TYPED = re.compile(r"manage\.py[\s\",]+([a-z]+)(?=[\s\",\]]|$)(.*)")
# What follows a command on its line, and what stands for something else.
ENDS = re.compile(r"\s(?:#|\||&&|;|>|2>).*$")


def commands() -> Iterator[tuple[str, str, list[str]]]:
    """Yield where a command stands, its name, and its arguments."""
    for page in pages():
        for block in blocks(page):
            if block.language not in FENCES or "hazards" in page.parts:
                continue
            for line in block.text.replace("\\\n", " ").splitlines():
                found = TYPED.search(line)
                if found is None or found[1] not in OURS or "[options]" in line or "…" in line:
                    continue
                rest = ENDS.sub("", f" {found[2]}")
                if re.search(r'"\s*,\s*"', line):
                    rest = re.sub(r'[",\[\]]', " ", rest)
                try:
                    words = shlex.split(rest)
                except ValueError:
                    continue
                yield f"{page.relative_to(DOCS)}:{block.line}", found[1], words


TYPED_SOMEWHERE = list(commands())


def test_there_are_commands_to_check() -> None:
    pages_with = {place.partition(":")[0] for place, _, _ in TYPED_SOMEWHERE}
    assert {f"how-to/deploy-{name}.md" for name in ("kubernetes", "github-actions")} <= pages_with


@pytest.mark.parametrize(
    ("place", "name", "words"),
    TYPED_SOMEWHERE,
    ids=[f"{place} {name} {' '.join(words)}" for place, name, words in TYPED_SOMEWHERE],
)
def test_a_command_can_be_typed(place: str, name: str, words: list[str]) -> None:
    app = "django.core" if name in ("makemigrations", "migrate") else "django_safemigrations"
    parser = load_command_class(app, name).create_parser("manage.py", name)
    # Aliases are the project's own.
    pairs = zip(["", *words], words, strict=False)
    given = ["default" if before == "--database" else word for before, word in pairs]
    try:
        parser.parse_args([word for word in given if not word.startswith("[")])
    except CommandError as error:
        pytest.fail(f"{place}: manage.py {name} {' '.join(words)}: {error}")
