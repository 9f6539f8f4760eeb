"""`/templates`: every mail as it looks, with a made-up story, and whether one's own replaces the built-in."""

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from monitor.render import Rendered
from monitor.web.mail_pages import in_a_frame
from monitor.web.reader import PageReader
from monitor.web.rendering import render
from monitor.web.services import Here, Services

router = APIRouter(prefix="/templates", include_in_schema=False)


@router.get("")
async def all_of_them(request: Request, here: Here, reader: PageReader) -> HTMLResponse:
    """Each template's name, where it is from, and what is wrong with it."""
    found = await asyncio.to_thread(here.renderer.templates)
    return render(request, "templates.html", reader, templates=found)


@router.get("/{name}")
async def one(request: Request, here: Here, reader: PageReader, name: str) -> HTMLResponse:
    """A mail as mail programs show it, and as plain text."""
    rendered = await _preview(here, name)
    found = await asyncio.to_thread(here.renderer.templates)
    about = next(one for one in found if one.name == name)
    return render(request, "template.html", reader, name=name, about=about, mail=rendered)


@router.get("/{name}/html")
async def html(here: Here, _reader: PageReader, name: str) -> HTMLResponse:
    """The HTML part alone: what the frame shows."""
    return in_a_frame((await _preview(here, name)).html)


async def _preview(here: Services, name: str) -> Rendered:
    """A name is looked up in the list, and so leads to no other file."""
    found = await asyncio.to_thread(here.renderer.templates)
    if name not in {one.name for one in found}:
        raise HTTPException(404, f"No template {name!r} is known here.")
    return await asyncio.to_thread(here.renderer.preview, name)
