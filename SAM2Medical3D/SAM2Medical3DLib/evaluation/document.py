"""A report as Markdown, and as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Table:
    """Cells as text; the first row is the header."""

    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A PNG or JPEG file."""

    path: Path
    title: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Heading:
    """A title; level 1 is the document's."""

    text: str
    level: int = 2


Part = Heading | Table | Picture | Bullets | str

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
       color: #1c1c1e; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { border: 1px solid #d0d0d5; padding: .3rem .6rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { background: #f2f2f5; }
img { max-width: 100%; }
figure { margin: 1rem 0; }
figcaption { color: #55555c; }
code { background: #f2f2f5; padding: .1rem .3rem; overflow-wrap: anywhere; }
"""


def to_markdown(parts: Sequence[Part], folder: Path) -> str:
    """Markdown; pictures as links relative to ``folder``."""
    blocks = []
    for part in parts:
        if isinstance(part, Heading):
            blocks.append("#" * part.level + " " + part.text)
        elif isinstance(part, Table):
            header, *rows = (tuple(_cell(c) for c in row) for row in part.rows)
            lines = [header, ("---",) * len(header), *rows]
            blocks.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
        elif isinstance(part, Bullets):
            blocks.append("\n".join(f"- {item}" for item in part.items))
        elif isinstance(part, Picture):
            link = part.path.relative_to(folder).as_posix()
            blocks.append(f"![{part.title}]({link})")
        else:
            blocks.append(part)
    return "\n\n".join(blocks) + "\n"


def to_html(parts: Sequence[Part]) -> str:
    """One page with its style and pictures inside."""
    title = next((p.text for p in parts if isinstance(p, Heading) and p.level == 1), "Report")
    body = "\n".join(_element(part) for part in parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _element(part: Part) -> str:
    if isinstance(part, Heading):
        return f"<h{part.level}>{html.escape(part.text)}</h{part.level}>"
    if isinstance(part, Table):
        header, *rows = part.rows
        head = "".join(f"<th>{_inline(cell)}</th>" for cell in header)
        lines = ["<tr>" + "".join(f"<td>{_inline(c)}</td>" for c in row) + "</tr>" for row in rows]
        body = "\n".join(lines)
        return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    if isinstance(part, Bullets):
        return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in part.items) + "</ul>"
    if isinstance(part, Picture):
        data = base64.b64encode(part.path.read_bytes()).decode("ascii")
        kind = "png" if part.path.suffix == ".png" else "jpeg"
        title = html.escape(part.title)
        return (
            f'<figure><img alt="{title}" src="data:image/{kind};base64,{data}">'
            f"<figcaption>{title}</figcaption></figure>"
        )
    return f"<p>{_inline(part)}</p>"


def _inline(text: str) -> str:
    """Text with ``code`` and **bold** of Markdown, the only marks that reports use."""
    pieces = html.escape(text).split("`")
    text = "".join(f"<code>{p}</code>" if n % 2 else p for n, p in enumerate(pieces))
    pieces = text.split("**")
    return "".join(f"<b>{p}</b>" if n % 2 else p for n, p in enumerate(pieces))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
