"""The event: a CloudEvents 1.0 object, its identity, and the functions that build one."""
