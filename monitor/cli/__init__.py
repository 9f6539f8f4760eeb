"""The command `windsock`."""
