"""A run's results against a film's exact truth."""
