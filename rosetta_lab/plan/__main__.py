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
from rosetta_lab.files import path_of
from rosetta_lab.models.load import apply_overrides
from rosetta_lab.plan.optimisation import OptimisationPlan, plan_edit, plan_inversion
from rosetta_lab.plan.page import write_plan
from rosetta_lab.plan.plan import make_plan
from rosetta_lab.plan.text import memory_text, optimisation_text, time_lines
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.precision import set_matmul_precision

FORMATS = ("text", "json")
NOTHING_LEFT_BEHIND = (
    "hydra.run.dir=.",
    "hydra.output_subdir=null",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
)


def tell(plan: Any, form: str, text: str, page: str | None) -> None:
    """Print a plan, and write its page, where one is asked for."""
    say(json.dumps(plan.to_dict(), indent=2) if form == "json" else text)
    if page:
        written = write_plan(path_of(page), plan)
        print(f"Look at it: {written.resolve()}", file=sys.stderr)


@entry_point("plan", optional=["gen"])
def mining(cfg: DictConfig) -> None:
    """Of rosetta_lab.mine."""
    check_choice("format", cfg.format, FORMATS)
    cfg = apply_overrides(cfg)
    set_matmul_precision(cfg.matmul_precision)
    first = (lambda plan: say(memory_text(plan))) if cfg.format == "text" else None
    plan = make_plan(cfg, cfg.device, cfg.measure, first)
    tell(plan, cfg.format, "\n".join(time_lines(plan)), cfg.page)


def optimisation(
    command: str, make: Callable[[DictConfig, str | None, float], OptimisationPlan]
) -> None:
    """Of a command that is configured as it is, and by keys of ours."""
    own = {"format": "text", "device": None, "measure": "1", "page": None}
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
        plan = make(cfg, own["device"], seconds)
        tell(plan, str(own["format"]), optimisation_text(plan), own["page"])

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
