"""OpenTelemetry spans from a hook's event to the mail, as an option: off, nothing is imported or measured."""

from monitor.errors import SettingsError
from monitor.settings import Settings
from monitor.tracing.contract import OFF, Span, Traces

__all__ = ["OFF", "Span", "Traces", "traces_of"]


def traces_of(settings: Settings) -> Traces:
    """As the settings say. Raises SettingsError where what it takes is not installed."""
    if settings.traces == "off":
        return OFF
    try:
        from monitor.tracing.otlp import Otlp
    except ImportError as error:
        raise SettingsError(
            f"WINDSOCK_TRACES: 'otlp' needs OpenTelemetry ({error}): pip install 'windsock[otel]'"
        ) from None
    return Otlp()
