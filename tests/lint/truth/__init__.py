"""Labelled sets of operations: what PostgreSQL did, and what the linter said of it."""
