"""What plans take away, backups of it, and what is kept of it."""
