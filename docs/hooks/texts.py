"""Docstrings as they are written in this project, on a page.

What looks like a tag, such as ``<A, B>`` and ``<run>``, is text: no page here has HTML in it. And
``:func:`NAME` `` is a link, where NAME has a place on the site.
"""

from __future__ import annotations

import re
from typing import Any

from markdown import Markdown
from markdown.extensions import Extension

ROLE = re.compile(r":(?:class|func|meth|mod):<code>([\w.]+)</code>")


class TagsAreText(Extension):
    """Markdown without HTML within lines."""

    def extendMarkdown(self, md: Markdown) -> None:
        """See :class:`Extension`."""
        md.inlinePatterns.deregister("html")


def on_config(config: Any) -> Any:
    config.markdown_extensions.append(TagsAreText())
    return config


def on_page_content(content: str, **_: Any) -> str:
    return ROLE.sub(r'<autoref identifier="\1" optional><code>\1</code></autoref>', content)
