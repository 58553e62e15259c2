"""What a run would need: ``python -m rosetta_lab.plan gen=NAME disc=[NAME,...]``."""

from __future__ import annotations

import json

from omegaconf import DictConfig

from rosetta_lab.errors import check_choice, say
from rosetta_lab.models.load import apply_overrides
from rosetta_lab.plan.plan import make_plan
from rosetta_lab.plan.text import plan_text
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.precision import set_matmul_precision


@entry_point("plan")
def main(cfg: DictConfig) -> None:
    check_choice("format", cfg.format, ("text", "json"))
    cfg = apply_overrides(cfg)
    set_matmul_precision(cfg.matmul_precision)
    plan = make_plan(cfg, cfg.device, cfg.measure)
    say(json.dumps(plan.to_dict(), indent=2) if cfg.format == "json" else plan_text(plan))


if __name__ == "__main__":
    main()
