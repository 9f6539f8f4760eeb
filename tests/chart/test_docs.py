"""docs/kubernetes.md: its commands can be read by a shell, its values are ones that the chart takes."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart.helm import ROOT, Manifest, Refused, example, merged, render
from tests.chart.pods import environment, monitor

PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
CHOSEN = {
    "REGISTRY": "registry.example.com",
    "MAIL_TO": "you@example.com",
    "SMTP_HOST": "smtp.example.com",
    "SMTP_USER": "windsock@example.com",
}
TWO_REPLICAS = re.compile(r"Error: … (these values do not fit:.*?)```", re.DOTALL)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def first_values(folder: Path) -> Manifest:
    """The file that step 5 writes, written by its own command."""
    (block,) = (one for one in blocks("sh") if one.startswith("cat > windsock-values.yaml"))
    command = block[: block.index("\nEND\n")] + "\nEND\n"
    subprocess.run(["bash", "-euc", command], cwd=folder, env=CHOSEN, check=True, timeout=20)
    values: Manifest = yaml.safe_load((folder / "windsock-values.yaml").read_text())
    return values


@pytest.mark.parametrize("block", blocks("sh"), ids=lambda block: block.split("\n")[0][:50])
def test_a_shell_reads_each_command(block: str) -> None:
    subprocess.run(["bash", "-n"], input=block, text=True, check=True, timeout=20)


def test_every_file_that_a_command_names_is_there() -> None:
    named = set(re.findall(r"\bcharts/[\w./-]+\w", PAGE))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_first_values_install(tmp_path: Path) -> None:
    variables = environment(monitor(render(first_values(tmp_path))))
    assert variables["WINDSOCK_NOTIFICATION_EMAIL_TO"] == CHOSEN["MAIL_TO"]


def test_more_replicas_are_refused_in_the_words_of_the_page(tmp_path: Path) -> None:
    (told,) = TWO_REPLICAS.findall(PAGE)
    with pytest.raises(Refused) as refused:
        render(merged(first_values(tmp_path), {"replicas": 3}))
    assert " ".join(told.split()) in " ".join(str(refused.value).split())


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.split("\n")[0])
def test_the_chart_takes_each_piece(block: str) -> None:
    piece = yaml.safe_load(block)
    base = merged(
        example("monitor-postgresql"),
        {"secrets": {"keys": ["ingest_secret", "session_secret", "airflow_password"]}},
    )
    url = {"database": {"urlSecret": {"name": "windsock-db-app"}}}
    render(merged(merged(base, url), piece))
