"""Within the fresh environment: commands, a shared file, notebooks, in one process.

python newcomer_inside.py COMMAND... -- SHARED NOTEBOOK...; a command is a JSON list of words.
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
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

import rosetta_lab as rl


def main() -> None:
    split = sys.argv.index("--")
    commands, (shared, *notebooks) = sys.argv[1:split], sys.argv[split + 1 :]
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
    for notebook in notebooks:
        started = time.process_time()
        run_cells(Path(notebook))
        tell(notebook, started)


def tell(what: str, started: float) -> None:
    print(f"{time.process_time() - started:6.1f} s of the processor: {what}", file=sys.stderr)


def run_cells(notebook: Path) -> None:
    """Run a notebook's cells one after the other, and show what each ends with."""
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, notebook.name, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), notebook.name, "eval"), names)
            html = getattr(value, "_repr_html_", None)
            assert (html() if html else None) or repr(value), cell["source"]
        matplotlib.pyplot.close("all")


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "agg")
    main()
