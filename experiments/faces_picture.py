"""Four neurons of the dictionary of faces, side by side, from the pictures of its page.

python experiments/faces_picture.py outputs/mine/<date>_<time> experiments/faces.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from rosetta_lab.dictionary.schema import RosettaDictionary

SHOWN = {0: "light", 91: "mouth", 198: "eyes", 240: "hair"}  # neurons of experiments=faces
WIDTH, LINE, GAP = 576, 22, 24  # of a panel, a line of text, and between panels, in pixels


def panel(folder: Path, dictionary: RosettaDictionary, number: int, title: str) -> Image.Image:
    """Images, the generator's maps and every model's, under what they are of."""
    neuron = dictionary.neurons[number]
    heads = [
        f"{title} (concept {neuron.concept}, neuron {number})",
        f"{dictionary.reference.name} {neuron.unit.layer}, {neuron.unit.channel}",
    ]
    for name, (best, *_) in neuron.matches.items():
        evidence = f"r {best.r:.2f}, content {best.r_centred:.2f}"
        heads.append(f"{name} {best.unit.layer}, {best.unit.channel}: {evidence}")
    maps = Image.open(folder / "page" / f"neuron-{number}.webp").convert("RGB")
    maps = maps.resize((WIDTH, maps.height * WIDTH // maps.width), Image.Resampling.LANCZOS)
    height = maps.height // len(heads)  # of a row
    picture = Image.new("RGB", (WIDTH, maps.height + LINE * len(heads)), "white")
    draw = ImageDraw.Draw(picture)
    for row, head in enumerate(heads):
        top = row * (height + LINE)
        draw.text((0, top + 2), head, "black", ImageFont.load_default(15))
        picture.paste(maps.crop((0, row * height, WIDTH, (row + 1) * height)), (0, top + LINE))
    return picture


def main() -> None:
    folder, target = map(Path, sys.argv[1:])
    dictionary = RosettaDictionary.load(folder)
    panels = [panel(folder, dictionary, number, title) for number, title in SHOWN.items()]
    width, height = panels[0].size
    whole = Image.new("RGB", (2 * width + GAP, 2 * height + GAP), "white")
    for place, one in enumerate(panels):
        whole.paste(one, ((place % 2) * (width + GAP), (place // 2) * (height + GAP)))
    whole.quantize(256).save(target, optimize=True)


if __name__ == "__main__":
    main()
