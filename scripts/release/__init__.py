"""The wheels, the audit and the release."""
