"""The content of a notification and its rendering as mail and text."""
