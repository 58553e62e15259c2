"""Notebooks as pages: their texts and their code; what they show is seen by running them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def page(notebook: Path) -> str:
    """The Markdown of a notebook."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    where = f"*As a notebook: `docs/notebooks/{notebook.name}`.*"
    return "\n\n".join([parts[0], where, *parts[1:]])


def on_files(files: Any, config: Any) -> Any:
    for notebook in sorted(NOTEBOOKS.glob("*.ipynb")):
        name = f"notebooks/{notebook.stem}.md"
        files.append(File.generated(config, name, content=page(notebook)))
    return files
