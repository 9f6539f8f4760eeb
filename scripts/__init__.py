"""Programs for those who work on Windsock."""
