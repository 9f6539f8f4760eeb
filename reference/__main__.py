"""`python -m reference`: writes every generated page anew."""

from reference.pages import DOCS, PAGES

for name, page in PAGES.items():
    (DOCS / name).write_text(page())
