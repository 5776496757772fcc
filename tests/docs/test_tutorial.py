"""The tutorial, executed from its first block to its last."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from testproject.cluster import CHECKOUT
from testproject.database import Server
from tests.docs.markdown import DOCS, blocks
from tests.docs.transcript import Command, Terminal, commands

TUTORIAL = DOCS / "tutorial.md"


def libpq_environment(dsn: str) -> dict[str, str]:
    """Return the variables that make libpq connect to where a URL leads."""
    names = {
        option.keyword.decode(): option.envvar.decode()
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar
    }
    parameters = psycopg.conninfo.conninfo_to_dict(dsn)
    return {names[key]: str(value) for key, value in parameters.items() if key in names}


@pytest.fixture
def terminal(postgres: Server, tmp_path: Path) -> Iterator[Terminal]:
    """A terminal in an empty directory, whose PGDATABASE is an empty database."""
    database = f"tutorial_{os.getpid()}"
    postgres.drop_database(database)
    postgres.create_database(database)
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("DJANGO_", "PG", "PYTEST_"))
    }
    environment = {
        **inherited,
        **libpq_environment(postgres.dsn(database)),
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
        ),
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "NO_COLOR": "1",
    }
    try:
        yield Terminal(tmp_path, environment)
    finally:
        postgres.drop_database(database)


def test_a_reader_who_types_the_tutorial_sees_what_it_shows(terminal: Terminal) -> None:
    for block in blocks(TUTORIAL):
        if "title" in block.attributes:
            terminal.write(block)
        elif block.language == "console":
            for command in commands(block):
                problem = terminal.run(command)
                if problem:
                    pytest.fail(f"{block.place}: {problem}", pytrace=False)
    assert any("--phase contract" in line for line in terminal.history)


def test_every_block_of_the_tutorial_is_executed_but_the_installation() -> None:
    others = [
        block.text
        for block in blocks(TUTORIAL)
        if "title" not in block.attributes and block.language != "console"
    ]
    assert others == ['python -m pip install "/path/to/django_safemigrations[binary]"\n']


@pytest.mark.parametrize(
    ("code", "shown", "problem"),
    [
        ("print('one'); print('two'); print('three')", ("one", "...", "three"), ""),
        ("print('one two three')", ("one ... three",), ""),
        ("print('one')", (), "does not print"),
        ("print('one')", ("one", "two"), "does not print"),
        ("print('one'); print('two')", ("one",), "does not print"),
        ("print('one'); raise SystemExit(3)", ("one",), "ended with 3"),
    ],
)
def test_output_that_differs_from_what_is_shown_is_told(
    tmp_path: Path, code: str, shown: tuple[str, ...], problem: str
) -> None:
    here = Terminal(tmp_path, {})
    told = here.run(Command(f'python -c "{code}"', shown))
    assert problem in told if problem else told == ""


def test_an_answer_is_typed_at_its_prompt_and_echoed(tmp_path: Path) -> None:
    here = Terminal(tmp_path, {"PYTHONUNBUFFERED": "1"})
    code = "print(input('really? [y/N] ') + '!')"
    asked = Command(f'python -c "{code}"', ("really? [y/N] y", "y!"), ("y",))
    assert here.run(asked) == ""
