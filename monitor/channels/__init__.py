"""The ways to somebody: mail, Apprise, webhooks. One small interface, one file each."""

from monitor.channels.apprise import AppriseSender, check_apprise_url
from monitor.channels.contract import Parcel, Sender
from monitor.channels.mail import MailSender
from monitor.channels.webhook import WebhookSender

__all__ = ["AppriseSender", "MailSender", "Parcel", "Sender", "WebhookSender", "check_apprise_url"]
