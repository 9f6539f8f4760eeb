"""The decision who is notified of an event, when, and with which other events."""
