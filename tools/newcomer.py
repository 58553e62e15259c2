"""The path of somebody who has just found this: wheel, fresh environment, README, notebooks.

``make newcomer`` builds the wheel, installs it into an environment that has what it declares and
nothing else (taken over from the one that runs this, since downloads take longer than all of it),
and gives the commands of the README's first block and its Python, with few images and steps, then
runs the notebooks. It says how much of the processor's time each step took.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXTRAS = {"notebook"}  # as the README installs it
INSIDE = ROOT / "tools" / "newcomer_inside.py"
PHOTO = ROOT / "rosetta_lab" / "data" / "samples" / "coat_red.png"
# What keeps the README's commands short; each is given as it is printed, with these behind it.
SHORT = {
    "mine": [
        *("disc=[resnet_fashion,clip_fashion]", "num_images=32", "page_images=8", "blocks=2"),
        "hydra.run.dir=mined",
    ],
    "invert": [f"images={PHOTO}", "label=coat", "steps=2", "hydra.run.dir=inverted"],
    "edit": ["steps=2", "frames=0", "reference_images=2", "hydra.run.dir=edited"],
}

# The same of its Python: what stands there, and what is run instead.
BRIEF = {
    "num_images=400": "num_images=8",
    'matches="all")': 'matches="all", steps=2)',
    "rl.Shift(dx=0.25))": "rl.Shift(dx=0.25), steps=2, reference_images=2)",
}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="newcomer_") as temporary:
        here = Path(temporary)
        with step("build the wheel"):
            words = ["build", "--wheel", "--no-isolation", "--outdir", str(here), str(ROOT)]
            run([sys.executable, "-m", *words], ROOT)
        (wheel,) = here.glob("*.whl")
        with step("install it into a fresh environment"):
            python = install(wheel, here / "venv")
        with step("rosetta-lab --version"):
            said = run([str(python.with_name("rosetta-lab")), "--version"], here)
            assert said.startswith("rosetta-lab "), said
        commands = printed()
        assert [name for name, *_ in commands] == list(SHORT), commands
        first, *others = [[*words, *SHORT[words[0]]] for words in commands]
        with step(f"rosetta-lab {' '.join(first)}"):
            run([str(python.with_name("rosetta-lab")), *first], here)
        assert (here / "mined" / "index.html").is_file()
        told = [json.dumps(words) for words in [*others, ["export", "mined", "out.zip"]]]
        (here / "readme.py").write_text(python_block(), encoding="utf-8")
        with step("the other commands, the shared file, the README's Python, the notebooks"):
            notebooks = sorted(map(str, ROOT.glob("docs/notebooks/*.ipynb")))
            run([str(python), str(INSIDE), *told, "--", "out.zip", "readme.py", *notebooks], here)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is done, and how much of the processor's time it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    yield
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{took:6.1f} s of the processor: {what}", flush=True)


def run(words: list[str], folder: Path) -> str:
    """What a command prints; one that fails ends everything."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"ROSETTA_CACHE": str(folder / "cache"), "MPLBACKEND": "agg"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def printed() -> list[list[str]]:
    """The commands of the README's first block, in words."""
    block = re.search(r"```bash\n(.*?)```", README, re.DOTALL)
    assert block is not None
    lines = [line.partition("#")[0].split() for line in block[1].splitlines()]
    return [words[1:] for words in lines if words and words[0] == "rosetta-lab"]


def python_block() -> str:
    """The README's Python, with few images and steps."""
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert block is not None
    text = block[1]
    for printed_there, instead in BRIEF.items():
        assert printed_there in text, printed_there
        text = text.replace(printed_there, instead)
    return text


def install(wheel: Path, place: Path) -> Path:
    """A fresh environment with the wheel and links to what it declares; returns its Python."""
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    run([*pip, "--no-deps", "--no-index", "--no-compile", str(wheel)], place)
    (packages,) = place.glob("lib/python*/site-packages")
    for name in declared("rosetta-lab", EXTRAS):
        found = distribution(name)
        for top in {Path(str(file)).parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            link = packages / top
            if not link.exists():
                link.symlink_to(Path(str(found.locate_file(top))))
    return python


def declared(name: str, extras: set[str]) -> set[str]:
    """Names of all installed packages that one asks for, and that those ask for."""
    found: set[str] = set()
    left = [(name, frozenset(extras))]
    seen = set(left)
    while left:
        package, wanted = left.pop()
        try:
            requirements = distribution(package).requires or []
        except PackageNotFoundError:  # of another system
            continue
        found.add(package)
        for text in requirements:
            asked = Requirement(text)
            holds = asked.marker is None or any(
                asked.marker.evaluate({"extra": extra}) for extra in wanted | {""}
            )
            following = (asked.name, frozenset(asked.extras))
            if holds and following not in seen:
                seen.add(following)
                left.append(following)
    return found - {name}


if __name__ == "__main__":
    main()
