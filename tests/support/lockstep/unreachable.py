"""Cells of the table that no stream can reach, each with its reason."""


def why_not(role, kind, outcome):
    """Why this cannot be; None if it can."""
    return None
