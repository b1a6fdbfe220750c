"""The parts of a page of HTML that needs nothing beside itself: no script, no other file, no network."""

import base64
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape as escape
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from metarl.agents.videos import Video

INK = "#010203"
"""The colour that drawings are made in, and that the page replaces by its text's."""
THEME: dict[Any, Any] = {
    "svg.fonttype": "none",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.facecolor": "none",
    "legend.frameon": False,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"),
        INK,
    ),
}
"""Matplotlib's settings under which a drawing looks right on light and dark paper."""
WIDE = 8.0
"""Inches from which a picture may be wider than a phone's screen, and is moved sideways there."""
TYPES = {".mp4": "video/mp4", ".gif": "image/gif"}


def page(title: str, body: Iterable[str]) -> str:
    """Return a whole page.

    Args:
        title: as text.
        body: parts, as HTML.
    """
    style = (resources.files("metarl.commands") / "page.css").read_text()
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>\n{style}</style>\n</head>\n'
    )
    return head + "<body>\n<main>\n" + "\n".join(body) + "\n</main>\n</body>\n</html>\n"


def section(title: str, *parts: str) -> str:
    """Return a section of parts in HTML; nothing of empty ones."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(part for part in parts if part) + "\n</section>"


def missing(line: str) -> str:
    """Return a line that says what is not there, and how it comes there."""
    return f'<p class="missing">{escape(line)}</p>'


def note(line: str) -> str:
    """Return a remark."""
    return f'<p class="note">{escape(line)}</p>'


def tiles(facts: Mapping[str, str]) -> str:
    """Return a few facts in large print, by what they are."""
    inside = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f'<dl class="tiles">{inside}</dl>' if facts else ""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column is text, and whose others are numbers."""
    head = "".join(f'<th scope="col"{_number(column)}>{escape(text)}</th>' for column, text in enumerate(headings))
    lines = []
    for name, *values in rows:
        cells = "".join(f'<td class="number">{escape(value)}</td>' for value in values)
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def settings(title: str, entries: Mapping[str, str]) -> str:
    """Return names and values under a heading."""
    lines = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in entries.items())
    return f'<div><h3>{escape(title)}</h3><table class="settings"><tbody>{lines}</tbody></table></div>' if entries else ""


def gallery(figures: Iterable[str], kind: str = "gallery") -> str:
    """Return figures beside each other where there is room; of kind ``"two pair"`` in two columns of one width."""
    inside = "".join(figures)
    return f'<div class="{kind}">{inside}</div>' if inside else ""


def drawing(draw: "Callable[[], Figure | None]", caption: str, name: str) -> str:
    """Return what a function draws, as SVG in the page's own colours; nothing if it draws nothing.

    Args:
        draw: makes the figure.
        caption: what it shows.
        name: of no other drawing on the page.
    """
    from matplotlib import rc_context

    with rc_context({**THEME, "svg.hashsalt": name}):
        figure = draw()
        if figure is None:
            return ""
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'^<svg ([^>]*?)width="[^"]*" height="[^"]*"|^<svg ', lambda found: f"<svg {found[1] or ''}", svg)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" ', 1)
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def picture(figure: "Figure", caption: str) -> str:
    """Return a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    image = f'<img src="{_data("image/png", buffer.getvalue())}" alt="{escape(caption)}">'
    image = f'<div class="wide">{image}</div>' if figure.get_figwidth() > WIDE else image
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def film(video: "Video", caption: str) -> str:
    """Return a video that plays in the page: MP4 where it can be written, else GIF."""
    with TemporaryDirectory() as folder:
        path = video.save(Path(folder) / "video")
        source = _data(TYPES[path.suffix], path.read_bytes())
    _, height, width, _ = video.frames.shape
    size = f'width="{width}" height="{height}"'
    if path.suffix == ".mp4":
        playing = 'controls autoplay loop muted playsinline preload="auto"'
        shown = f'<video {playing} {size} src="{source}" aria-label="{escape(caption)}"></video>'
    else:
        shown = f'<img {size} src="{source}" alt="{escape(caption)}">'
    return f'<figure><div class="wide">{shown}</div><figcaption>{escape(caption)}</figcaption></figure>'


def _number(column: int) -> str:
    return ' class="number"' if column else ""


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
