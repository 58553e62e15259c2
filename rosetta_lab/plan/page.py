"""A plan as a static page."""

from __future__ import annotations

from pathlib import Path

from rosetta_lab.pages.charts import bars
from rosetta_lab.pages.document import write_document
from rosetta_lab.plan.optimisation import OptimisationPlan
from rosetta_lab.plan.plan import Plan
from rosetta_lab.plan.text import (
    GIGA,
    duration,
    gigabytes,
    memory_parts,
    optimisation_text,
    warning,
)


def write_plan(path: Path, plan: Plan | OptimisationPlan) -> Path:
    """Write the page of a plan.

    Returns:
        Its path.
    """
    if isinstance(plan, OptimisationPlan):
        whole = plan.duration(plan.images, plan.steps)
        return write_document(
            path,
            "plan.html.j2",
            title=f"{plan.command.capitalize()} through {plan.generator}",
            device=plan.device,
            facts_={
                "images": f"{plan.images:,}",
                "time": duration(whole),
                "memory": gigabytes(plan.peak),
                "free": gigabytes(plan.available),
            },
            memory=None,
            models=[],
            lines=optimisation_text(plan).splitlines(),
            warning="" if plan.fits else "It will not fit: take fewer images at a time.",
        )
    parts = [(name, size / GIGA) for name, size in memory_parts(plan).items()]
    return write_document(
        path,
        "plan.html.j2",
        title=f"Mining {plan.models[0].name} against {len(plan.models) - 1} models",
        device=plan.device,
        facts_={
            "images": f"{plan.num_images:,}",
            "time": "not measured" if plan.seconds is None else duration(plan.seconds),
            "memory": gigabytes(plan.memory.peak),
            "allowed": gigabytes(plan.way.budget),
            "images at a time": f"{plan.way.batch_size:,}",
            "passes": f"{plan.rounds * len(plan.way.rows):,}",
        },
        memory=bars(parts, "Memory", "GB"),
        models=[
            (
                f"{model.name}: {model.units:,} units, {model.parameters / 1e6:,.1f} M parameters",
                [
                    [
                        layer.name,
                        f"{layer.channels:,}",
                        f"{layer.height}\u00a0\u00d7\u00a0{layer.width}",
                        f"{plan.bytes_of(layer) / 1e6:,.1f}",
                    ]
                    for layer in model.layers
                ],
            )
            for model in plan.models
        ],
        lines=[],
        warning="" if plan.way.fits else warning(plan),
    )
