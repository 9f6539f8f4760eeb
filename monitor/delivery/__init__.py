"""From the outbox to a recipient: claim, confirm, render, send, settle."""
