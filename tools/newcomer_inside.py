"""Within the fresh environment: commands, a shared file, Python, notebooks, in one process.

python newcomer_inside.py COMMAND... -- SHARED SCRIPT NOTEBOOK...; COMMAND is a JSON list of words.
"""

from __future__ import annotations

import ast
import json
import os
import runpy
import sys
import time
from pathlib import Path

import matplotlib.pyplot
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from torch import Tensor, nn

import rosetta_lab as rl


def main() -> None:
    split = sys.argv.index("--")
    commands, (shared, script, *notebooks) = sys.argv[1:split], sys.argv[split + 1 :]
    home = str(Path(sys.prefix))
    assert rl.__file__ and rl.__file__.startswith(home), f"{rl.__file__} is not the wheel's"
    for words in (json.loads(command) for command in commands):
        started = time.process_time()
        sys.argv = words
        runpy.run_module(f"rosetta_lab.{words[0]}", run_name="__main__", alter_sys=True)
        HydraConfig.instance().cfg = None  # what follows is no command
        GlobalHydra.instance().clear()
        tell(" ".join(words), started)
    assert len(rl.load(shared).concepts) == len(rl.load("mined").concepts)
    started = time.process_time()
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    run_cells(
        [Path(script).read_text(encoding="utf-8")], images=images, generator=Plain(), net=net()
    )
    tell(script, started)
    for notebook in notebooks:
        started = time.process_time()
        cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
        run_cells(["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"])
        tell(notebook, started)


class Plain(nn.Module):
    """A generator that the project has never seen."""

    z_dim = 8

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.start = nn.Linear(self.z_dim, 16 * 4 * 4)
        self.grow = nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1)
        self.act = nn.ReLU()
        self.end = nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """z (N, 8) to images (N, 3, 16, 16)."""
        start = self.start(z).reshape(-1, 16, 4, 4)
        return self.end(self.act(self.grow(start))).tanh()  # type: ignore[no-any-return]


def net() -> nn.Module:
    """A network of images that the project has never seen."""
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())


def tell(what: str, started: float) -> None:
    print(f"{time.process_time() - started:6.1f} s of the processor: {what}", file=sys.stderr)


def run_cells(cells: list[str], **names: object) -> None:
    """Run cells one after the other, given some names, and show what each ends with."""
    names["__name__"] = "__main__"
    for cell in cells:
        tree = ast.parse(cell)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
            html = getattr(value, "_repr_html_", None)
            assert (html() if html else None) or repr(value), cell
        matplotlib.pyplot.close("all")


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "agg")
    main()
