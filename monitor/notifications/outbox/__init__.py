"""The outbox and ledger: every delivery that is due, and its outcome."""
