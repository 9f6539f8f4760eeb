"""Every template, with every kind of story, against the rules for HTML in mails."""

import pytest

from monitor.delivery.messages.renderer import Renderer
from monitor.notifications.outbox.records import TEMPLATES
from tests.unit.conftest import FakeClock
from tests.unit.mail_lint import Lint

AIRFLOWS = {"production": "https://airflow.example.com"}


@pytest.mark.parametrize("hostile", [False, True], ids=["as usual", "hostile"])
@pytest.mark.parametrize("airflows", [AIRFLOWS, {}], ids=["with Airflow", "without"])
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_mail_is_what_mail_programs_can_show(
    template: str, airflows: dict[str, str], hostile: bool
) -> None:
    renderer = Renderer("windsock@example.com", "https://windsock.example.com", airflows, FakeClock())
    assert Lint(renderer.preview(template, hostile).html).mistakes == []


@pytest.mark.parametrize(
    "fault",
    [
        "<script>x</script>",
        "<table><tr><td></td></tr></table>",
        '<img src="http://x">',
        "<p>text without a look</p>",
        '<a href="javascript:x">x</a>',
        '<a href="https://x"></a>',
        '<div style="position:absolute"></div>',
        '<div style="display:flex;float:left"></div>',
        '<td style="background:url(http://x)"></td>',
        '<td style="background:#ffffff"></td>',
        '<td width="601"></td>',
        '<p onclick="x"></p>',
        "<h1></h1>",
        "</p>",
        "<p>",
        f"<style>{'x' * 9_000}</style>",
    ],
)
def test_the_lint_finds_what_is_wrong(fault: str) -> None:
    page = Renderer("a@example.com", "https://m", AIRFLOWS, FakeClock()).preview("notice").html
    assert Lint(page.replace("</body>", f"{fault}</body>")).mistakes
