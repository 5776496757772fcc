"""Statements with their hazards, and what PostgreSQL does when it runs them."""
