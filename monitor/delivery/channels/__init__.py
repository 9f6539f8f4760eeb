"""The ways to a recipient: mail, Apprise and webhooks."""
