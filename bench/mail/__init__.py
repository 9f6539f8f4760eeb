"""What the outbox costs a mail, beside those that have none."""
