"""What a run would need: ``python -m rosetta_lab.plan gen=NAME disc=[NAME,...]``.

Of an inversion or an edit: ``python -m rosetta_lab.plan invert dictionary=outputs/mine/...``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig

from rosetta_lab.errors import RosettaError, check_choice, say
from rosetta_lab.models.load import apply_overrides
from rosetta_lab.plan.optimisation import OptimisationPlan, plan_edit, plan_inversion
from rosetta_lab.plan.plan import make_plan
from rosetta_lab.plan.text import optimisation_text, plan_text
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.precision import set_matmul_precision

FORMATS = ("text", "json")
NOTHING_LEFT_BEHIND = (
    "hydra.run.dir=.",
    "hydra.output_subdir=null",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
)


def tell(plan: Any, form: str, text: Callable[[Any], str]) -> None:
    """Print a plan."""
    check_choice("format", form, FORMATS)
    say(json.dumps(plan.to_dict(), indent=2) if form == "json" else text(plan))


@entry_point("plan", optional=["gen"])
def mining(cfg: DictConfig) -> None:
    """Of rosetta_lab.mine."""
    check_choice("format", cfg.format, FORMATS)
    cfg = apply_overrides(cfg)
    set_matmul_precision(cfg.matmul_precision)
    tell(make_plan(cfg, cfg.device, cfg.measure), cfg.format, plan_text)


def optimisation(
    command: str, make: Callable[[DictConfig, str | None, float], OptimisationPlan]
) -> None:
    """Of a command that is configured as it is, and by keys of ours."""
    own = {"format": "text", "device": None, "measure": "1"}
    words = []
    for word in sys.argv[1:]:
        key, _, value = word.partition("=")
        if key in own:
            own[key] = None if value == "null" else value
        else:
            words.append(word)
    sys.argv[1:] = [*NOTHING_LEFT_BEHIND, *words]

    @entry_point(command)
    def main(cfg: DictConfig) -> None:
        set_matmul_precision(cfg.matmul_precision)
        check_choice("format", own["format"], FORMATS)
        try:
            seconds = float(own["measure"] or 0)
        except ValueError:
            raise RosettaError(f"measure={own['measure']}: expected seconds.") from None
        tell(make(cfg, own["device"], seconds), str(own["format"]), optimisation_text)

    main()


def main() -> None:
    """Take the command's name off the command line."""
    makers = {"invert": plan_inversion, "edit": plan_edit}
    named = sys.argv[1] if len(sys.argv) > 1 else ""
    if named in ("mine", *makers):
        sys.argv.pop(1)
    if named in makers:
        optimisation(named, makers[named])
    else:
        mining()


if __name__ == "__main__":
    main()
