"""The JSON that goes, by what it tells of: `tasks/results.py` and the routes write it."""
