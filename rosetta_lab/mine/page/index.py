"""The dictionary as a static page: ``index.html`` and one picture per Rosetta neuron.

It opens from disk, without a server or the network. Names from outside (layers, models, captions,
the configuration) are escaped, and the page's own policy allows no other script than the page's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from string import Template

import torch

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.files import atomic_write
from rosetta_lab.mine.page import overview
from rosetta_lab.mine.page.concepts import concepts, image_name
from rosetta_lab.mine.page.examples import Examples
from rosetta_lab.mine.page.sprites import SpriteMaker
from rosetta_lab.pages.colormap import css_gradient
from rosetta_lab.pages.document import PAGE_NAME, html_head
from rosetta_lab.pages.templates import read_template


def write_page(dictionary: RosettaDictionary, examples: Examples, folder: Path) -> Path:
    """Write ``index.html`` and its pictures.

    Args:
        dictionary: what to show.
        examples: images, and the maps of every neuron's generator unit and best buddies.
        folder: the run folder; the pictures go to ``page/`` inside it.

    Returns:
        The path of ``index.html``. It is written last, so a page is never without its pictures.
    """
    maker = SpriteMaker(dictionary, examples)
    captions = []
    with _one_thread():
        for number, neuron in enumerate(dictionary.neurons):
            sprite = maker.draw(neuron)
            atomic_write(folder / image_name(number), sprite.webp())
            captions.append([examples.captions[place] for place in sprite.columns])
    path = folder / PAGE_NAME
    atomic_write(path, _page(dictionary, maker, captions).encode())
    return path


@contextmanager
def _one_thread() -> Iterator[None]:
    """Many small tensors: threads that wait for each other cost 20 times what they save."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _page(dictionary: RosettaDictionary, maker: SpriteMaker, captions: list[list[str]]) -> str:
    script = read_template("page.js")
    title = f"Rosetta neurons of {dictionary.generator.name}"
    return Template(read_template("page.html")).substitute(
        html_head=html_head(title, ["page.css"], script, dictionary.rosetta_lab),
        title=escape(title),
        script=script,
        columns=maker.columns,
        rows=maker.rows,
        ratio=f"{maker.cell[1] / maker.cell[0]:.4g}",
        heat=css_gradient(),
        k=dictionary.k,
        lead=overview.lead(dictionary),
        warning=overview.warning(dictionary),
        facts=overview.facts(dictionary),
        table=overview.table(dictionary),
        histograms=overview.histograms(dictionary),
        meetings=overview.meetings(dictionary),
        concepts=concepts(dictionary, captions, maker.columns, len(maker.gallery)),
        provenance=overview.provenance(dictionary),
    )
