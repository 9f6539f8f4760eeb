"""Whether an event tells of something wrong, of something well, or of neither, as one sign."""

BAD, GOOD, NEITHER = "✗", "✓", "·"

_BAD = (
    ".failed",
    ".import_error",
    ".late",
    ".missing",
    ".stuck",
    ".stale",
    ".unconsumed",
    ".auto_paused",
    ".unreachable",
    ".unhealthy",
    ".failing",
    ".dead",
    ".parked",
)
_GOOD = (".success", ".recovered", ".import_error_mended")


def mark_of(event_type: str) -> str:
    if event_type.endswith(_BAD):
        return BAD
    return GOOD if event_type.endswith(_GOOD) else NEITHER
