"""The programs for people who work on Windsock."""
