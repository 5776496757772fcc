"""Parts of the examples whose harm is in a function that RunPython runs."""

from __future__ import annotations

NOOP = """
operations = [
    migrations.RunPython({name}, migrations.RunPython.noop),
]
"""
IN_STEPS = f"""
atomic = False
{NOOP.format(name="fill").strip()}
"""
OURS = "from django_safemigrations.operations import RunInBatches, row_function\n"

IN_BATCHES = """
atomic = False
operations = [
    RunInBatches("order", fill, RunInBatches.noop),
]
"""

ROW = (
    OURS
    + """

@row_function(writes=["reference"])
def fill(order):
    order.reference = f"A{order.pk}"
    return order
"""
)


def run(name: str) -> str:
    """Return the body of a migration that runs a function and has a way back."""
    return NOOP.format(name=name)
