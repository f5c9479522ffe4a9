"""Loggers that send the records of a run to experiment trackers."""
