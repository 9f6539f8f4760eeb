"""`python -m monitor.rules.schema [FILE]`: write the JSON Schema of windsock.yaml anew."""

import json
import sys
from pathlib import Path

from monitor.rules.editors import json_schema

FILE = Path("docs/windsock.schema.json")


def text() -> str:
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> None:
    file = Path(arguments[0]) if arguments else FILE
    file.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
