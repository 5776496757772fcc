"""What generated migrations do on tables that a DBA, other sessions or earlier runs have touched."""
