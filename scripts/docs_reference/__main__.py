"""The command `python -m scripts.docs_reference`, which writes every generated page anew."""

from scripts.docs_reference.pages import DOCS, PAGES

for name, page in PAGES.items():
    (DOCS / name).write_text(page())
