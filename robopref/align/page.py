"""The frame and the style that all reports have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def render(template: str, context: Mapping[str, Any], *, folder: Path | None = None) -> str:
    """Return a template filled in, with the style that all reports have.

    Args:
        template: Its file name.
        context: What it names.
        folder: Where it is; None for here. It may extend `page.html`, which is here.
    """
    import jinja2

    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder or here, here]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template(template)
    return page.render(style=(here / "report.css").read_text(), **context)
