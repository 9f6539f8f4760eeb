"""The rules file: how it is read, checked, matched and reloaded (docs/rules.md)."""
