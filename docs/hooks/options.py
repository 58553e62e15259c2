"""Every command's options as pages, see :mod:`rosetta_lab.run.options`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

from rosetta_lab.run.options import Option, choices, explained, head, options

CONF = Path(__file__).parents[2] / "conf"
MADE_OF = ("edit", "trainer", "logger")  # groups whose members' keys are options, too


def commands() -> dict[str, Path]:
    """Commands by the names of their configs."""
    return {path.stem: path for path in sorted(CONF.glob("*.yaml"))}


def command_page(config: Path) -> str:
    """The Markdown of a command's options."""
    first, *examples = head(config)
    command, _, what = first.partition(": ")
    known = explained(config)
    parts = [f"# {command.removeprefix('python -m rosetta_lab.').split()[0]}", what]
    parts.append("```bash\n" + "\n".join([command, *examples]) + "\n```")
    groups = [option for option in known if option.group]
    if groups:
        rows = [(f"{o.key}=", o.value, _choices(o)) for o in groups]
        parts += ["## Chosen by name", _table(("group", "default", "choices"), rows)]
    keys = [option for option in known if not option.group]
    for section, members in groupby(keys, key=lambda option: option.section):
        parts.append(f"## {section or 'Options'}")
        parts.append(_options_table(members))
    return "\n\n".join(filter(None, parts))


def groups_page() -> str:
    """The Markdown of the groups whose members have keys of their own."""
    parts = ["# Groups", "What is chosen by name has keys, too, written `GROUP.KEY=VALUE`."]
    for group in MADE_OF:
        parts.append(f"## {group}")
        for name in choices(group):
            config = CONF / group / f"{name}.yaml"
            parts += [f"### `{group}={name}`", " ".join(head(config))]
            prefix = group if group == "trainer" else f"{group}.{name}"
            keys = [o._replace(key=f"{prefix}.{o.key}") for o in options(config)]
            parts.append(_options_table(keys) if keys else "")
    return "\n\n".join(filter(None, parts))


def index_page() -> str:
    """The Markdown of the list of commands."""
    rows = [
        f"- [`{head(path)[0].partition(': ')[0]}`]({name}.md)" for name, path in commands().items()
    ]
    how = (
        "Every option is `KEY=VALUE` on the command line, with dots into blocks (`loss.l2=1.0`); "
        "in Python, an argument, with `__` for a dot (`loss__l2=1.0`). `null` is nothing, lists "
        "are `[a,b]`. `--help` prints a command's own, `--multirun k=1,3,5` runs all values. "
        "These pages are made of `conf/`. What `gen=`, `disc=` and `perceptual=` choose from is "
        "on the page of [models](../models.md); the keys of `edit=`, `trainer=` and `logger=` "
        "are on that of [groups](groups.md)."
    )
    return "\n\n".join(["# Options", how, "\n".join(rows)])


def on_files(files: Any, config: Any) -> Any:
    pages = {name: command_page(path) for name, path in commands().items()}
    pages |= {"groups": groups_page(), "index": index_page()}
    for name, text in pages.items():
        files.append(File.generated(config, f"options/{name}.md", content=text))
    return files


def _choices(option: Option) -> str:
    names = ", ".join(f"`{name}`" for name in choices(option.key))
    return "; ".join(filter(None, [_text(option.comment), names]))


def _options_table(found: Sequence[Option] | Iterator[Option]) -> str:
    rows = [(f"{o.key}=", o.value, _text(o.comment)) for o in found]
    return _table(("option", "default", ""), rows)


def _table(names: Sequence[str], rows: Sequence[tuple[str, str, str]]) -> str:
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    lines += [f"| {_code(key)} | {_code(value)} | {text} |" for key, value, text in rows]
    return "\n".join(lines)


def _code(value: str) -> str:
    return f"`{value}`".replace("|", "\\|") if value else ""


def _text(comment: str) -> str:
    return re.sub(r"([|*_\[\]<>])", r"\\\1", comment)
