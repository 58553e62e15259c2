"""A plan as text."""

from __future__ import annotations

from rosetta_lab.planning import ModelPlan, Plan

GIGA = 1e9


def plan_text(plan: Plan) -> str:
    """Every layer, the memory, the time, and a warning where the run would not fit."""
    lines = [line for model in plan.models for line in model_lines(model, plan.batch_size)]
    memory = plan.memory
    parts = {
        "weights": memory.weights,
        "sums (float64)": memory.sums,
        f"one batch of {plan.batch_size}": memory.batch,
        "tables (float32)": memory.tables,
        "at most at a time": memory.peak,
        f"free on {plan.device}": plan.available,
    }
    lines += ["Memory", *(f"  {what:<40}{size / GIGA:>10.2f} GB" for what, size in parts.items())]
    return "\n".join([*lines, time_line(plan), *([] if plan.fits else [warning(plan)])])


def model_lines(model: ModelPlan, batch_size: int) -> list[str]:
    """One line for the model, one for each of its layers."""
    lines = [
        f"{model.name}: {model.units:,} units in {len(model.layers)} layers, "
        f"{model.parameters / 1e6:,.1f} M parameters ({model.weights})"
    ]
    for layer in model.layers:
        shape = f"{layer.channels} x {layer.height} x {layer.width}"
        size = 4 * batch_size * layer.channels * layer.height * layer.width / 1e6
        lines.append(f"  {layer.name:<40}{shape:>18}{size:>10,.1f} MB")
    return lines


def time_line(plan: Plan) -> str:
    """How long it would take."""
    timing, seconds = plan.timing, plan.seconds
    if timing is None or seconds is None:
        return "Time: not measured."
    return (
        f"Time: about {duration(seconds)} for {plan.num_images:,} images on {plan.device}, "
        f"{plan.num_images / seconds:.3g} images/s\n"
        f"  per image {timing.forward:.3g} s forward, {timing.correlation:.3g} s correlation; "
        f"per batch {timing.accumulation:.3g} s (measured on {timing.images} images)"
    )


def duration(seconds: float) -> str:
    """In the unit that suits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def warning(plan: Plan) -> str:
    """That it does not fit, and what would."""
    excess = (
        f"WARNING: it will not fit: {plan.memory.peak / GIGA:.1f} GB are needed, "
        f"{plan.available / GIGA:.1f} GB are free on {plan.device}. "
    )
    if plan.largest_batch:
        return f"{excess}Try batch_size={plan.largest_batch}."
    return f"{excess}Record fewer layers (layers=) or look with fewer models (disc=)."
