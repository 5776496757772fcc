"""What a plan takes from the data, the backup that is made before, and what is kept of it."""
