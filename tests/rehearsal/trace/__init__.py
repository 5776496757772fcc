"""What a trace sees of statements that real PostgreSQL runs."""
