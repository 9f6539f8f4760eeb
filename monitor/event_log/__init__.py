"""The durable log of events: append once, read after a cursor, forget by age."""
