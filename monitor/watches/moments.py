"""Moments as findings keep them: written as events write them."""

from datetime import datetime


def moment_in(text: str) -> datetime:
    """What `stamp` wrote."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
