"""What makemigrations writes, in projects as they are out there."""
