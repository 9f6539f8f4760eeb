"""Sign-in, sessions, tokens, and the permissions that follow from them."""
