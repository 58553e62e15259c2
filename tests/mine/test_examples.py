"""The images of the page, against looking at all of them with every model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mined_toys import observer
from page_fixtures import scenes, synthetic
from toy import ToyModel

from rosetta_lab.data.latents import Latents
from rosetta_lab.dictionary.names import Name, save_names
from rosetta_lab.dictionary.schema import Match, ModelCard, RosettaDictionary, RosettaNeuron
from rosetta_lab.mine.page.examples import COLUMNS, collect_examples
from rosetta_lab.mine.page.index import write_page
from rosetta_lab.mine.page.names import show_names
from rosetta_lab.models.units import Unit

IMAGES = 40


def of(reference: str, units: list[Unit], other: str, unit: Unit) -> RosettaDictionary:
    match = Match(unit.layer, unit.channel, 0.5)
    neurons = [RosettaNeuron(own, {other: [match]}, 0.5) for own in units]
    cards = [ModelCard(name, {}, []) for name in (reference, other)]
    return RosettaDictionary(cards[0], {other: cards[1]}, neurons, [], 0, IMAGES, 1)


@pytest.mark.parametrize("reference", ["toy", "a"])
def test_units_fire_most_on_the_images_that_are_shown(reference: str) -> None:
    watch = observer(a=ToyModel(), b=ToyModel(seed=2, size=5))
    watch = type(watch)(watch.source, dict(watch.models.items()), reference)
    latents = Latents(IMAGES, 0, 12)
    seen = watch(latents.batch(list(range(IMAGES)))).maps
    layers = list(seen[reference])
    units = [Unit(layers[0], 0), Unit(layers[-1], 1), Unit(layers[0], 2)]
    match = Unit(next(iter(seen["b"])), 1)
    found = collect_examples(watch, latents, of(reference, units, "b", match))
    peaks = torch.stack(
        [seen[reference][layer][:, channel].amax(dim=(1, 2)) for layer, channel in units], dim=1
    )
    torch.testing.assert_close(found.peaks, peaks)
    best = {int(n) for column in peaks.t() for n in column.topk(COLUMNS).indices}
    assert found.captions == [f"image {number}" for number in sorted(best)]
    assert found.chosen_from == IMAGES and found.labels is None
    shown = sorted(best)
    for name, unit in [*((reference, unit) for unit in units), ("b", match)]:
        expected = seen[name][unit.layer][shown, unit.channel]
        torch.testing.assert_close(found.maps[name, unit], expected, atol=1e-5, rtol=1e-4)


def test_a_page_takes_names_later(tmp_path: Path) -> None:
    found, examples = synthetic(*scenes(count=6), neurons=3)
    page = write_page(found, examples, tmp_path)
    before = page.read_text(encoding="utf-8")
    save_names(tmp_path, found, None, [Name(concept=1, name="</span><b>a & b")])
    show_names(tmp_path, found)
    after = page.read_text(encoding="utf-8")
    assert after.count("&lt;/span&gt;&lt;b&gt;a &amp; b</span>") == 1
    write_page(found, examples, tmp_path)  # which reads them, too
    assert page.read_text(encoding="utf-8") == after
    (tmp_path / "names.json").write_text("[]")  # of somebody else
    show_names(tmp_path, found)
    assert page.read_text(encoding="utf-8") == before
