"""Mail addresses as the rules name them; what is one is decided for the whole project in mail_addresses."""

from monitor.mail_addresses import domain_of, is_address, same

__all__ = ["domain_of", "is_address", "same"]
