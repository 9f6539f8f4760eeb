"""Airflow's SmtpHook sends the same mails; runs in Airflow's environment. Reads a list of mails as JSON from
its standard input and writes seconds, one line for a connection a mail (as SmtpOperator uses it) and one for
a kept one.
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
    began = time.perf_counter()
    for mail in mails:
        with SmtpHook() as hook:
            _send(hook, mail)
    a_mail = time.perf_counter() - began
    began = time.perf_counter()
    with SmtpHook() as hook:
        for mail in mails:
            _send(hook, mail)
    kept = time.perf_counter() - began
    print(json.dumps({"a_mail": a_mail, "kept": kept}))


def _send(hook: Any, mail: dict[str, str]) -> None:
    hook.send_email_smtp(
        to=mail["to"],
        subject=mail["subject"],
        html_content=mail["html"],
        from_email="windsock@example.com",
    )


if __name__ == "__main__":
    main()
