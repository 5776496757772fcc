"""Reads the SQL of RunSQL with PostgreSQL's own parser and judges it by the state before it."""
