"""What Gmail's submission server says, in its own words; the last one is Exchange Online's."""

HELP = "https://support.google.com/mail/?p="
LIMITS = "https://support.google.com/a/answer/166852"
END = "a640c23a62f3a-a9 - gsmtp"


def _lines(code: str, status: str, *texts: str) -> str:
    """A reply of several lines, each with its status, as Gmail writes them."""
    *more, last = texts
    return "\r\n".join([*(f"{code}-{status} {text}" for text in more), f"{code} {status} {last}"])


BAD_CREDENTIALS = _lines(
    *("535", "5.7.8", "Username and Password not accepted. For more information, go to"),
    f" {HELP}BadCredentials {END}",
)
NEEDS_APP_PASSWORD = _lines(
    *("534", "5.7.9", "Application-specific password required. For more information, go to"),
    f" {HELP}InvalidSecondFactor {END}",
)
TOO_MANY_LOGINS = _lines(
    *("454", "4.7.0", "Too many login attempts, please try again later. For more information, go"),
    f"to {HELP}TooManyLogins {END}",
)
TRY_LATER = _lines(
    *("421", "4.7.0", "Try again later, closing connection. (MAIL) For more information, go to"),
    f" https://support.google.com/a/answer/3221692 {END}",
)
TOO_MANY_RECIPIENTS = _lines(
    *("452", "4.5.3", "Your message has too many recipients. For more information regarding"),
    *("Google's sending limits, go to", f" {LIMITS} {END}"),
)
DAILY_LIMIT = f"550 5.4.5 Daily sending quota exceeded. {END}"
DAILY_USER_LIMIT = _lines(
    *("550", "5.4.5", "Daily user sending limit exceeded. For more information on Gmail"),
    *("sending limits go to", f" {LIMITS} {END}"),
)
TOO_LARGE = _lines(
    *("552", "5.2.3", "Your message exceeded Google's message size limits. To view our message size"),
    *("guidelines, go to", f" {HELP}MaxSizeError {END}"),
)
TOO_LARGE_AT_ONCE = "552 5.3.4 Message size exceeds fixed limit"
EXCHANGE_LIMIT = (
    "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients"
)
