"""Search without a server: what the theme would fetch from elsewhere for that lies beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

SHIM = "https://unpkg.com/iframe-worker/shim"
OWN = "assets/javascripts/worker.js"


def on_files(files: Any, config: Any) -> Any:
    source = Path(__file__).with_name("worker.js")
    files.append(File.generated(config, OWN, abs_src_path=str(source)))
    return files


def on_post_page(output: str, page: Any, **_: Any) -> str:
    up = "../" * page.url.count("/")
    return output.replace(SHIM, up + OWN)
