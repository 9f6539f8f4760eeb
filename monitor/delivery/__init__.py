"""The way of a delivery to its recipient: claim, confirm, render, send, settle."""
