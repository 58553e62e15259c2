"""A plan as text."""

from __future__ import annotations

from rosetta_lab.plan.plan import MEASURING, ModelPlan, Plan

GIGA = 1e9


def plan_text(plan: Plan) -> str:
    """Every layer, the memory, the time, and a warning where the run would not fit."""
    lines = [line for model in plan.models for line in model_lines(plan, model)]
    memory = plan.memory
    parts = {
        "weights": memory.weights,
        "sums (float64)": memory.sums,
        f"one batch of {plan.batch_size}": memory.batch,
        "after the last batch: a model's tables": memory.tables,
        "  and copies while they are made": memory.working,
        "at most at a time": memory.peak,
        f"free on {plan.device}": plan.available,
    }
    lines += ["Memory", *(f"  {what:<40}{size / GIGA:>10.2f} GB" for what, size in parts.items())]
    lines.append(
        f"Disk: until it is finished up to {memory.sums / GIGA:.2f} GB of sums in the cache "
        "folder, then some MB of neighbours (cache=false: none)"
    )
    return "\n".join([*lines, time_line(plan), *([] if plan.fits else [warning(plan)])])


def model_lines(plan: Plan, model: ModelPlan) -> list[str]:
    """One line for the model, one for each of its layers."""
    lines = [
        f"{model.name}: {model.units:,} units in {len(model.layers)} layers, "
        f"{model.parameters / 1e6:,.1f} M parameters ({model.weights})"
    ]
    for layer in model.layers:
        shape = f"{layer.channels} x {layer.height} x {layer.width}"
        lines.append(f"  {layer.name:<40}{shape:>18}{plan.bytes_of(layer) / 1e6:>10,.1f} MB")
    return lines


def time_line(plan: Plan) -> str:
    """How long it would take."""
    timing, seconds, speed = plan.timing, plan.seconds, plan.images_per_second
    if timing is None or seconds is None:
        room = plan.memory.room(int(MEASURING * plan.available), plan.batch_size, sums=False)
        return f"Time: not measured{'' if room else ', since not even one image fits'}."
    total = f"{duration(seconds)} for {plan.num_images:,} images on {plan.device}"
    if timing.correlation is None:
        return (
            f"Time: about {total}, {speed:.3g} images/s, for the models alone: the sums do not fit"
            f"\n  per image {timing.forward:.3g} s (measured on {timing.images} at a time)"
        )
    return (
        f"Time: about {total}, {speed:.3g} images/s\n"
        f"  per image {timing.forward:.3g} s forward, {timing.correlation:.3g} s correlation; "
        f"per batch {timing.accumulation:.3g} s (measured on {timing.images} images at a time)"
    )


def duration(seconds: float) -> str:
    """In the unit that suits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def warning(plan: Plan) -> str:
    """That it does not fit, why, and what would."""
    excess = (
        f"WARNING: it will not fit: {plan.memory.peak / GIGA:.1f} GB are needed, "
        f"{plan.available / GIGA:.1f} GB are free on {plan.device}. "
    )
    if plan.largest_batch:
        return f"{excess}Try batch_size={plan.largest_batch}."
    last = plan.memory.tables + plan.memory.working
    why = (
        "Not even one image at a time fits."
        if plan.tables_fit
        else f"Tables and the copies while they are made take {last / GIGA:.1f} GB beside weights "
        "and sums, whatever the batch_size."
    )
    return f"{excess}{why}\nRecord fewer layers (layers=) or look with fewer models (disc=)."
