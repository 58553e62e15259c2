"""Measure ratios in one run: ``python -m rosetta_lab.bench mining gen=NAME disc=[NAME]``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from omegaconf import DictConfig

from rosetta_lab.errors import say
from rosetta_lab.run.app import entry_point
from rosetta_lab.run.help import ASKED


def mining() -> None:
    """Straightforward mining, the bare forward passes, and ours."""

    @entry_point("bench_mining")
    def main(cfg: DictConfig) -> None:
        from rosetta_lab.bench.mining import run

        say(run(cfg).report())

    main()


def networks() -> None:
    """Ways to run the networks: channels-last, bfloat16, torch.compile."""

    @entry_point("bench_mining")
    def main(cfg: DictConfig) -> None:
        from rosetta_lab.bench.networks import run

        say(run(cfg))

    main()


INVERSION_DEFAULTS = (  # of `bench inversion`, which is configured as rosetta_lab.invert is
    "data=fashion_scenes",
    "data.per_class=7",
    "batch_size=64",
    "steps=10",
    "hydra.run.dir=.",
    "hydra.output_subdir=null",
    "hydra/job_logging=stdout",
)


def inversion_defaults(given: Sequence[str]) -> list[str]:
    """The defaults that the options given leave; data=NAME takes data.KEY=VALUE with it."""
    keys = tuple(f"{option.split('=')[0]}." for option in given)
    return [d for d in INVERSION_DEFAULTS if not f"{d.split('=')[0]}.".startswith(keys)]


def inversion() -> None:
    """A step by its parts, and a batch against one image at a time."""
    sys.argv[1:1] = inversion_defaults(sys.argv[1:])

    @entry_point("invert")
    def main(cfg: DictConfig) -> None:
        from rosetta_lab.bench.inversion import run

        say(run(cfg).report())

    main()


BENCHMARKS: dict[str, Callable[[], None]] = {
    "mining": mining,
    "networks": networks,
    "inversion": inversion,
}


def main() -> None:
    """Take the benchmark's name off the command line and run it."""
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHMARKS:
        usage = f"Usage: python -m rosetta_lab.bench {{{','.join(BENCHMARKS)}}} [key=value ...]"
        if not set(ASKED) & set(sys.argv[1:]):
            sys.exit(usage)
        about = (f"  {name:<10} {what.__doc__}" for name, what in BENCHMARKS.items())
        print("\n".join([usage, *about, "Each has a --help of its own: bench mining --help"]))
        return
    BENCHMARKS[sys.argv.pop(1)]()


if __name__ == "__main__":
    main()
