"""Measurements of the whole system, each against the bars that it is held to."""
