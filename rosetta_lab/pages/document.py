"""The frame of a static page that opens from disk: its policy, style and one script."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape
from string import Template
from typing import Any

from omegaconf import OmegaConf

import rosetta_lab
from rosetta_lab.pages.colormap import css_gradient
from rosetta_lab.pages.templates import read_template

PAGE_NAME = "index.html"


def document(
    *,
    eyebrow: str,
    title: str,
    head: str,
    sections: Mapping[str, str],
    footer: str,
    script: str | None = None,
    data: Any = None,
) -> str:
    """A page as HTML.

    Args:
        eyebrow: kind of page; plain text.
        title: plain text.
        head: HTML under the title.
        sections: heading (plain text) to HTML; empty ones are left out.
        footer: HTML.
        script: name of the template with the page's only script; None for a page without.
        data: what the script works on, anything that JSON can hold.
    """
    code = read_template(script) if script else ""
    return Template(read_template("document.html")).substitute(
        html_head=html_head(title, ["page.css", "gallery.css"], code),
        eyebrow=escape(eyebrow),
        title=escape(title),
        heat=css_gradient(),
        head=head,
        sections="".join(
            f'<section aria-labelledby="section-{place}"><h2 id="section-{place}">'
            f"{escape(heading)}</h2>{html}</section>"
            for place, (heading, html) in enumerate(sections.items())
            if html
        ),
        footer=footer,
        # Inside a script element nothing but "<" can end the element or open a comment.
        data=json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        script=code,
    )


def html_head(
    title: str, styles: Sequence[str], script: str, version: str = rosetta_lab.__version__
) -> str:
    """A page up to its body, with a policy that allows no other script than the page's.

    Args:
        title: plain text.
        styles: names of the style sheets' templates.
        script: the page's only script; its text.
        version: of rosetta_lab that made what is shown.
    """
    return Template(read_template("head.html")).substitute(
        title=escape(title),
        version=escape(version),
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        style="".join(read_template(name) for name in styles),
    )


def facts(values: Mapping[str, str]) -> str:
    """Large numbers: name to value, both plain text."""
    items = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in values.items()
    )
    return f'<dl class="facts">{"".join(items)}</dl>'


def table(label: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain text; the first cell of a row names it."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in rows
    )
    return (
        f'<div class="wide numbers" role="region" aria-label="{escape(label)}" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def plot(caption: str, svg: str) -> str:
    """A drawing with a caption (plain text) that scrolls by itself where it is too wide."""
    return (
        f"<figure><figcaption>{escape(caption)}</figcaption>"
        f'<div class="wide" role="region" aria-label="{escape(caption)}" tabindex="0">{svg}</div>'
        "</figure>"
    )


def config_text(cfg: Any) -> str:
    """A configuration as escaped JSON."""
    plain = OmegaConf.to_container(cfg) if OmegaConf.is_config(cfg) else cfg
    text = json.dumps(plain, indent=2, ensure_ascii=False, default=str)
    return f"<pre><code>{escape(text)}</code></pre>"
