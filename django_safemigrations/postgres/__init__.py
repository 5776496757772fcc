"""What PostgreSQL knows and does: catalog, locks, session, triggers, DDL."""
