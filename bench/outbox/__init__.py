"""That a claim takes as long with a million rows as with a thousand."""
