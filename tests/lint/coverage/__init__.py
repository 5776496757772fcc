"""What other linters of migrations look for, and what lintmigrations says to it."""
