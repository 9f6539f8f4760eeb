"""`python -m tests.scenarios.report`: writes the table into docs/scenarios.md, from what sessions found."""

import os
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from tests.airflow_environment import REPOSITORY
from tests.scenarios.measure import Cell, Row, Session, load, summary

FOLDER = Path(os.environ.get("WINDSOCK_HOME", REPOSITORY / ".windsock")) / "artefacts" / "scenarios"
PAGE = REPOSITORY / "docs" / "scenarios.md"
BEGIN = "<!-- begin: python -m tests.scenarios.report -->"
END = "<!-- end -->"
NAMES = {"listener": "hook", "reconciler": "reconciler"}


def table(sessions: Sequence[Session]) -> str:
    """Scenario × version, then the whole."""
    header = ["scenario", *(session.version for session in sessions)]
    lines = [header, ["---"] * len(header), *_rows(sessions), *_totals(sessions)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _rows(sessions: Sequence[Session]) -> list[list[str]]:
    titles = {row.name: row.title for session in sessions for row in session.rows}
    by_name = [{row.name: row for row in session.rows} for session in sessions]
    return [
        [title, *(_told(rows[name]) if name in rows else "not played" for rows in by_name)]
        for name, title in titles.items()
    ]


def _told(row: Row) -> str:
    delay = summary(chain.from_iterable(row.cell.delays.values()))
    said = [f"{row.cell.told}/{row.cell.held}", _by(row.cell), delay, row.remark]
    if row.failure is not None:
        said.insert(0, f"**failed**: {row.failure}")
    return "; ".join(part for part in said if part).replace("|", "\\|")


def _by(cell: Cell) -> str:
    return ", ".join(f"{NAMES[name]} {count}" for name, count in cell.by.items() if count)


def _totals(sessions: Sequence[Session]) -> list[list[str]]:
    def line(title: str, words: list[str]) -> list[str]:
        return [f"**{title}**", *words]

    return [
        line("terminal states, asset events, import errors held", [str(one.whole.held) for one in sessions]),
        line("lacking in the log", [str(one.whole.held - one.whole.told) for one in sessions]),
        line("doubled in the log", [str(one.whole.doubled) for one in sessions]),
        line("false recoveries", [str(len(one.false_recoveries)) for one in sessions]),
        line("told by", [_by(one.whole) for one in sessions]),
        line("a hook's delay", [summary(one.whole.delays["listener"]) for one in sessions]),
        line("the reconciler's delay", [summary(one.whole.delays["reconciler"]) for one in sessions]),
        line(
            "states of runs and tasks that a listener alone misses",
            [f"{one.listener_alone} of {one.runs_and_tasks}" for one in sessions],
        ),
        line("measured", [one.measured[:10] for one in sessions]),
    ]


def green(session: Session) -> bool:
    """Whether every scenario passed, the log holds each state once, and no recovery was false."""
    whole = session.whole
    if whole.told != whole.held or whole.doubled or session.false_recoveries:
        return False
    return all(row.failure is None for row in session.rows)


def written(page: str, sessions: Sequence[Session]) -> str:
    """The page with its table made anew. Raises ValueError where the page has no place for it."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE}: lacks {BEGIN!r} … {END!r}")
    return f"{before}{begin}\n{table(sessions)}\n{end}{after}"


def main() -> int:
    """Answers 0 where all that was measured is green."""
    sessions = load(FOLDER)
    if not sessions:
        print(f"nothing was measured yet: {FOLDER} holds no report", file=sys.stderr)  # noqa: T201 (a command)
        return 1
    PAGE.write_text(written(PAGE.read_text(), sessions))
    for session in sessions:
        whole = session.whole
        print(  # noqa: T201
            f"Airflow {session.version}: {'green' if green(session) else 'RED'}; held {whole.held},"
            f" lacking {whole.held - whole.told}, doubled {whole.doubled},"
            f" false recoveries {len(session.false_recoveries)};"
            f" a listener alone misses {session.listener_alone} of {session.runs_and_tasks}"
        )
    return 0 if all(map(green, sessions)) else 1


if __name__ == "__main__":
    sys.exit(main())
