"""Airflow's SmtpHook sends the same mails; runs in Airflow's environment. Reads a list of mails as JSON from
its standard input and writes seconds, by the clock and of the processor: for a connection a mail (as
SmtpOperator uses it), and for a kept one.
"""

import json
import os
import sys
import time
from typing import Any

from airflow.providers.smtp.hooks.smtp import SmtpHook


def main() -> None:
    request = json.load(sys.stdin)
    os.environ["AIRFLOW_CONN_SMTP_DEFAULT"] = json.dumps(request["connection"])
    mails = request["mails"]
    began = _clocks()
    for mail in mails:
        with SmtpHook() as hook:
            _send(hook, mail)
    a_mail = _since(began)
    began = _clocks()
    with SmtpHook() as hook:
        for mail in mails:
            _send(hook, mail)
    print(json.dumps({"a_mail": a_mail, "kept": _since(began)}))


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(began: tuple[float, float]) -> list[float]:
    return [now - then for now, then in zip(_clocks(), began, strict=True)]


def _send(hook: Any, mail: dict[str, str]) -> None:
    hook.send_email_smtp(
        to=mail["to"],
        subject=mail["subject"],
        html_content=mail["html"],
        from_email="windsock@example.com",
    )


if __name__ == "__main__":
    main()
