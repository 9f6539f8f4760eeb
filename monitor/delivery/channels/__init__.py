"""The channels to a recipient: mail, Apprise and webhooks."""
