"""What pages and replay take with few events in the log and with a million."""
