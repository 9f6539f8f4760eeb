"""What aiosmtplib raises, as the mailer's own errors."""

from aiosmtplib import SMTPNotSupported, SMTPRecipientsRefused, SMTPResponseException

from monitor.mailer.contract import Refused, SendError, TryLater, Uncertain
from monitor.mailer.replies import of_recipients, of_response, plain, told


def words(error: Exception) -> str:
    if isinstance(error, SMTPResponseException):
        return told(error.code, error.message)
    return plain(str(error) or type(error).__name__)


def doubt(why: str) -> str:
    return f"the connection ended before the server answered the message: {why}"


def meaning(error: Exception, in_doubt: bool) -> SendError:
    if in_doubt:
        return Uncertain(doubt(words(error)))
    if isinstance(error, SMTPRecipientsRefused):
        return of_recipients(error)
    if isinstance(error, SMTPResponseException):
        return of_response(error)
    if isinstance(error, SMTPNotSupported):
        return Refused(f"this server takes no addresses outside ASCII: {plain(str(error))}")
    if isinstance(error, ValueError):
        return Refused(f"not a mail that this server can be given: {plain(str(error))}")
    return TryLater(words(error))
