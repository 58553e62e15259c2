"""Static pages that open from disk: templates with autoescape, a strict policy, one script at most.

Python makes plain data, the templates show it. Names from outside (layers, models, classes, files,
a configuration) are escaped there, every one of them. :class:`Markup` is only what this package
makes itself: its style sheets, its scripts and its charts.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from omegaconf import OmegaConf

import rosetta_lab
from rosetta_lab.files import atomic_write
from rosetta_lab.pages.colormap import css_gradient

PAGE_NAME = "index.html"

TEMPLATES = Environment(
    loader=PackageLoader("rosetta_lab.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}


def write_document(path: Path, template: str, **values: Any) -> Path:
    """Write a page, whole or not at all.

    Args:
        path: where to.
        template: its name in ``templates/``.
        values: what it shows.

    Returns:
        The path.
    """
    atomic_write(path, TEMPLATES.get_template(template).render(values).encode())
    return path


def link_to(page: Path, folder: Path) -> str:
    """The address of a page from a folder that another lies in; empty where there is none."""
    return quote(os.path.relpath(page, folder)) if page.is_file() else ""


def render_fragment(template: str, **values: Any) -> str:
    """A part of a page, as notebooks show it.

    Args:
        template: its name in ``templates/``.
        values: what it shows.
    """
    return TEMPLATES.get_template(template).render(values)


def asset(name: str) -> Markup:
    """A style sheet or a script of ``templates/``, as it is."""
    assert TEMPLATES.loader is not None
    return Markup(TEMPLATES.loader.get_source(TEMPLATES, name)[0])


def digest(script: str) -> str:
    """What a Content-Security-Policy calls the one script that it allows."""
    return f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}"


def thousands(value: int) -> str:
    """A count, for people: ``1,600``."""
    return f"{value:,}"


def counted(value: int, noun: str) -> str:
    """A count of something: ``1 image``, ``1,600 images``."""
    return f"{value:,} {noun}" + ("" if value == 1 else "s")


def percent(value: float) -> str:
    """A rate, for people: ``0.64 %``, which no line breaks."""
    return f"{100 * value:.2g}\u00a0%"


def config_text(cfg: Any) -> str:
    """A configuration as JSON to read."""
    plain = OmegaConf.to_container(cfg) if OmegaConf.is_config(cfg) else cfg
    return json.dumps(plain, indent=2, ensure_ascii=False, default=str)


TEMPLATES.filters.update(
    digest=digest, thousands=thousands, counted=counted, percent=percent, config=config_text
)
TEMPLATES.globals.update(
    asset=asset, heat=css_gradient(), page_name=PAGE_NAME, version=rosetta_lab.__version__
)
