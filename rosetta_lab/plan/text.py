"""A plan as text."""

from __future__ import annotations

from rosetta_lab.plan.optimisation import PAPER, OptimisationPlan
from rosetta_lab.plan.plan import ModelPlan, Plan

GIGA = 1e9


def plan_text(plan: Plan) -> str:
    """Every layer, the memory, the time, and a warning where the run would not fit."""
    return "\n".join([memory_text(plan), *time_lines(plan)])


def memory_parts(plan: Plan) -> dict[str, float]:
    """What takes how many bytes, and what there is."""
    memory, way = plan.memory, plan.way
    return {
        "weights": memory.weights,
        "sums": memory.sums,
        f"a batch of {way.batch_size:,} images": memory.batch,
        "or, at the end, tables": memory.tables,
        "at most at a time": memory.peak,
        "allowed (memory=)": way.budget,
        f"free on {plan.device}": plan.available,
    }


def memory_text(plan: Plan) -> str:
    """What is known at once: every layer, and the memory."""
    lines = [line for model in plan.models for line in model_lines(plan, model)]
    memory, way = plan.memory, plan.way
    lines += [
        "Memory",
        *(f"  {what:<40}{size / GIGA:>10.2f} GB" for what, size in memory_parts(plan).items()),
    ]
    if plan.rounds > 1:
        lines.append(
            f"  {plan.rounds} rounds over the images, each with another reference and half of the "
            f"other models; reckoned as if {plan.models[0].name} met all of them every time."
        )
    if len(way.rows) > 1:
        lines.append(
            f"  {len(way.rows)} passes over the images, each of some of {plan.models[0].name}'s "
            "units: the sums of all do not fit."
        )
    lines.append(
        f"Disk: until it is finished up to {memory.sums / GIGA:.2f} GB of sums in the cache "
        "folder, then some MB of neighbours (cache=false: none)"
    )
    if plan.kept:
        lines.append(
            f"  and {plan.kept * plan.maps / GIGA:.2f} GB of maps: only the first pass runs the "
            f"networks on {'all' if plan.kept == 1 else f'{100 * plan.kept:.0f} % of the'} images "
            "(disk=0: every pass does)"
        )
    return "\n".join(lines)


def time_lines(plan: Plan) -> list[str]:
    """How long it would take, and a warning where it would not fit."""
    return [time_line(plan), *([] if plan.way.fits else [warning(plan)])]


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
        return "Time: not measured."
    return (
        f"Time: about {duration(seconds)} for {plan.num_images:,} images on {plan.device}, "
        f"{speed:.3g} images/s\n"
        f"  per image {timing.forward:.3g} s forward"
        f"{f' (from the disk {timing.recall:.3g} s)' if timing.recall else ''}, "
        f"{timing.correlation:.3g} s correlation; "
        f"per batch {timing.accumulation:.3g} s (measured on {timing.images} images at a time)"
    )


def duration(seconds: float) -> str:
    """In the unit that suits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def warning(plan: Plan) -> str:
    """That it does not fit, and what would."""
    return (
        f"WARNING: it will not fit: {plan.memory.peak / GIGA:.1f} GB are needed, with as many "
        f"passes and as few images at a time as there are; {plan.way.budget / GIGA:.1f} GB are "
        "allowed.\nRecord fewer layers (layers=) or look with fewer models (disc=)."
    )


def optimisation_text(plan: OptimisationPlan) -> str:
    """The memory and the time of inversions or edits, and a warning where they would not fit."""
    together = min(plan.batch_size, plan.images)
    images, steps = PAPER
    one, all_ = plan.duration(1, 1), plan.duration(together, 1)
    per_image = plan.duration(plan.images, plan.steps) / plan.images
    lines = [
        f"{plan.command} through {plan.generator} on {plan.device}: {plan.images:,} images, "
        f"{plan.steps:,} steps of Adam for each, {together} at a time",
        f"Memory: {gigabytes(plan.memory[0])} for one image at a time, "
        f"{gigabytes(plan.memory[1])} for each more: {gigabytes(plan.peak)}, of "
        f"{gigabytes(plan.available)} that are free",
        f"Time: {all_:.3g} s for a step of {together} ({one:.3g} s for one image); "
        f"{duration(per_image)} per image, "
        f"{duration(plan.duration(plan.images, plan.steps))} in all",
    ]
    if plan.command == "invert":
        lines.append(
            f"  The paper's Table 1, {images:,} images of {steps:,} steps: "
            f"{duration(plan.duration(images, steps))}, {plan.batch_size} at a time"
        )
    if not plan.fits:
        lines.append("WARNING: it will not fit. Take fewer images at a time (batch_size=).")
    return "\n".join(lines)


def gigabytes(size: float) -> str:
    """Bytes for people."""
    return f"{size / GIGA:.2f} GB"
