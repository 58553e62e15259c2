"""Kinds of values: every config that is shipped has such, and so has every command by default."""

from __future__ import annotations

import hydra
import pytest

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import asset_root
from rosetta_lab.run import app  # noqa: F401  what the configs refer to
from rosetta_lab.run.values import check_kinds

CONF = asset_root() / "conf"
COMMANDS = (
    "mine",
    "invert",
    "edit",
    "visualize",
    "ablate",
    "compare",
    "overlap",
    "plan",
    "export",
    "push",
    "pull",
    "bridge",
    "name",
    "diff",
    "retrieve",
)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [(command, []) for command in COMMANDS]
    + [("bench_mining", [f"row={row.stem}"]) for row in sorted((CONF / "row").glob("*.yaml"))],
)
def test_what_is_shipped_passes(command: str, arguments: list[str]) -> None:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        check_kinds(command, hydra.compose(command, arguments))


def test_kinds_of_one_command() -> None:
    """A benchmark without the straightforward method; an edit without references there is none."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        check_kinds("bench_mining", hydra.compose("bench_mining", ["reference_images=0"]))
        with pytest.raises(RosettaError, match="reference_images=0: expected a whole"):
            check_kinds("edit", hydra.compose("edit", ["reference_images=0"]))
