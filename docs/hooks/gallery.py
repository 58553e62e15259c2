"""The gallery: what commands write, each picture with the command of its experiment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from mkdocs.structure.files import File

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
PICTURE = re.compile(r"`(\w+\.png)`|\[?!\[[^\]]*\]\((\w+\.png)\)")
COMMAND = re.compile(r"^    (python -m .+(?:\\\n.+)*)", re.MULTILINE)
SAYS = re.compile(r"`(python -m rosetta_lab\.[^`]+)`")


class Shown(NamedTuple):
    """A picture in the gallery.

    Attributes:
        picture: name of its file in experiments/.
        experiment: that tells of it.
        command: that made it.
    """

    picture: str
    experiment: str
    command: str


def shown() -> list[Shown]:
    """Every picture that an experiment's text names, once."""
    found: dict[str, Shown] = {}
    for text in sorted(EXPERIMENTS.glob("*.md")):
        written = text.read_text(encoding="utf-8")
        commands = COMMAND.findall(written)
        for line in written.splitlines():
            for names in PICTURE.findall(line):
                own = SAYS.findall(line)
                picture = next(filter(None, names))
                if picture not in found and (own or commands):
                    command = (own or commands)[0]
                    found[picture] = Shown(picture, text.stem, command)
    return list(found.values())


def page() -> str:
    """The Markdown of the gallery."""
    parts = [
        "# Gallery",
        "What the commands write, each picture with its experiment and its command. All of the "
        "experiments' texts, with the numbers measured, are in `experiments/`.",
    ]
    for one in shown():
        name = one.picture.removesuffix(".png")
        parts += [
            f"## {name} {{ #{name} }}",
            f"```bash\n{one.command}\n```",
            f"![{name}](experiments/{one.picture})",
            f"[Figures and settings](experiments/{one.experiment}.md)",
        ]
    return "\n\n".join(parts)


def on_files(files: Any, config: Any) -> Any:
    files.append(File.generated(config, "gallery.md", content=page()))
    for path in sorted([*EXPERIMENTS.glob("*.md"), *EXPERIMENTS.glob("*.png")]):
        name = "experiments/index.md" if path.stem == "README" else f"experiments/{path.name}"
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files
