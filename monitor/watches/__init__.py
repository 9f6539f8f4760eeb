"""The watches, which find what does not happen and report it once (docs/watches.md)."""
