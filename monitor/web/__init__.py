"""The HTTP interface: the JSON API, the feed, the pages and sign-in."""
