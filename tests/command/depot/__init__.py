"""A second app whose migrations each test writes for itself."""
