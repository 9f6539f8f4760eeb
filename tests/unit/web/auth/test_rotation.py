"""Each secret is replaced without a loss: what is refused meanwhile waits, and nothing dies."""

import json
from base64 import b64decode
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from airflow_windsock.signing import signature_headers
from monitor.settings import Settings
from tests import wait
from tests.sample import run_event
from tests.smtp_server import PASSWORD
from tests.unit.airflow_api_fake import PASSWORD as AIRFLOW_PASSWORD
from tests.unit.conftest import make_secret
from tests.unit.restore_support import stage
from tests.unit.web_support import serving


def test_the_ingest_secret(settings: Settings) -> None:
    """Monitor (both) → plugin (new) → monitor (new): every request is taken at each step."""
    old, new = make_secret(), make_secret()

    def with_secrets(*secrets: str) -> Settings:
        return settings.model_copy(update={"ingest_secret": tuple(map(SecretStr, secrets))})

    def post(url: str, *secrets: str) -> int:
        """As the plugin does, which signs with every secret that it has."""
        body = json.dumps([run_event()]).encode()
        headers = {"Content-Type": "application/cloudevents-batch+json"}
        headers |= signature_headers(body, tuple(map(key_of, secrets)))
        return httpx.post(f"{url}/api/v1/events", content=body, headers=headers).status_code

    with serving(with_secrets(old)) as monitor:
        assert (post(monitor.url, old), post(monitor.url, new)) == (202, 401)
        assert post(monitor.url, new, old) == 202  # a plugin that is told first does no harm
    with serving(with_secrets(new, old)) as monitor:
        assert (post(monitor.url, old), post(monitor.url, new)) == (202, 202)
    with serving(with_secrets(new)) as monitor:
        assert (post(monitor.url, old), post(monitor.url, new)) == (401, 202)


def key_of(secret: str) -> bytes:

    return b64decode(secret.removeprefix("whsec_"))


@pytest.mark.slow
def test_the_passwords_of_airflow_and_of_the_mail_server(tmp_path: Path) -> None:
    """They are replaced at the servers first; then the monitor is started with the new ones."""
    with stage(tmp_path) as on:
        env = on.monitor.env
        env |= {"WINDSOCK_SMTP_PASSWORD": "the old one", "WINDSOCK_AIRFLOW_PASSWORD": "the old one"}
        env["WINDSOCK_CONFIRM_GRACE"] = "0"  # no mail waits for Airflow's word
        on.monitor.start()
        for number in range(8):
            on.end_run(reported=number != 3)

        def refused() -> bool:
            found = on.monitor.get("/api/v1/deliveries")["deliveries"]
            return any("535" in str(one["reason"]) for one in found)

        wait.until(refused, "the login to be refused", 60)
        assert on.monitor.get("/livez") == {"status": "ok"}
        assert on.mail.mails == []
        on.monitor.stop()
        env |= {"WINDSOCK_SMTP_PASSWORD": PASSWORD, "WINDSOCK_AIRFLOW_PASSWORD": AIRFLOW_PASSWORD}
        on.monitor.start()
        for one in on.monitor.get("/api/v1/deliveries", state="pending")["deliveries"]:
            # At once; by itself each is tried again within the minutes that the refusals have made of it.
            httpx.post(f"{on.monitor.url}/api/v1/deliveries/{one['id']}/resend", trust_env=False)
        on.wait_until_through()
        on.check()
        assert len(on.mail.mails) == len(on.mailed)
