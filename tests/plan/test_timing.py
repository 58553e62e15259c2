"""How long a batch takes, and how much memory there is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from planned import toy_run

from rosetta_lab.models.observer import Observer
from rosetta_lab.plan import rehearsal
from rosetta_lab.plan.plan import make_plan
from rosetta_lab.plan.text import plan_text
from rosetta_lab.run import device
from rosetta_lab.run.memory import available_memory, cgroup_memory


class Clock:
    """Seconds that pass only when something is said to take some."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def charge(self, monkeypatch: pytest.MonkeyPatch, where: object, name: str, cost) -> None:
        """Let a function take ``cost(*its arguments)`` seconds; the first of a cost takes more."""
        original, warm = getattr(where, name), set()

        def charged(*args, **kwargs):
            seconds = cost(*args)
            self.now += seconds if seconds in warm else seconds + 100.0
            warm.add(seconds)
            return original(*args, **kwargs)

        monkeypatch.setattr(where, name, charged)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Per batch, 0.02 s for the forward pass and 0.5 s to accumulate; per image, 0.01 s and 0.1."""
    clock = Clock()
    monkeypatch.setattr(device, "perf_counter", clock)
    clock.charge(monkeypatch, Observer, "forward", lambda self, batch, *_: 0.02 + 0.01 * len(batch))
    images = lambda sums, maps: len(maps[sums.reference]["fold"])  # noqa: E731
    clock.charge(monkeypatch, rehearsal, "correlate", lambda *args: 0.5 + 0.1 * images(*args))
    monkeypatch.setattr(
        rehearsal, "accumulate", lambda sums: setattr(clock, "now", clock.now + 0.5)
    )
    return clock


def test_time_of_a_batch_as_the_run_has_it(clock: Clock) -> None:
    """Whatever a batch of one image costs, and whatever the first of a shape."""
    plan = make_plan(toy_run(), "cpu", measure=1.0)
    timing = plan.timing
    assert timing is not None and timing.images == 8
    assert timing.forward == pytest.approx(0.02 / 8 + 0.01)
    assert timing.correlation == pytest.approx(0.1)
    assert timing.accumulation == pytest.approx(0.5)
    assert plan.seconds == pytest.approx(40 * 0.11 + 5 * 0.52)
    assert plan.to_dict()["images_per_second"] == pytest.approx(40 / plan.seconds)
    odd = make_plan(toy_run(num_images=7, batch_size=5), "cpu", measure=1.0)
    assert odd.timing is not None and odd.timing.images == 5
    assert odd.seconds == pytest.approx(7 * (0.02 / 5 + 0.11) + 2 * 0.5)


def test_slow_networks_are_timed_on_few_images(clock: Clock) -> None:
    """Two take 0.04 s, so four are not tried."""
    timing = make_plan(toy_run(), "cpu", measure=0.035).timing
    assert timing is not None and timing.images == 2
    assert timing.forward == pytest.approx(0.02)


def test_what_does_not_fit_is_not_timed(clock: Clock) -> None:
    made = make_plan(toy_run(memory="1KB"), "cpu", measure=1.0)
    assert not made.way.fits and made.timing is None and "WARNING" in plan_text(made)


def test_every_pass_takes_its_time(clock: Clock) -> None:
    one, three = (make_plan(toy_run(row_blocks=n), "cpu", measure=1.0) for n in (1, 3))
    assert len(three.way.rows) == 3 and three.seconds == pytest.approx(3 * one.seconds)


def test_real_work_takes_time() -> None:
    timing = make_plan(toy_run(), "cpu", measure=0.01).timing
    assert timing.forward > 0 and timing.correlation >= 0 and timing.accumulation > 0


def test_available_memory_is_plausible() -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < available_memory("cpu") <= total


def test_memory_that_control_groups_leave(tmp_path: Path) -> None:
    """Of both versions; limits further up count, and files in the cache do not."""

    def group(path: str, **files: str) -> None:
        folder = tmp_path / "sys/fs/cgroup" / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / f"memory.{name}").write_text(text + "\n")

    assert cgroup_memory(tmp_path) == []
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/job/step\n5:cpu,memory:/old\n3:cpuset:/x\n")
    assert cgroup_memory(tmp_path) == []
    group("job/step", max="max", current="50", stat="anon 50")
    group("job", max="1000", current="300", stat="anon 200\ninactive_file 100")
    assert cgroup_memory(tmp_path) == [800]
    stat = "inactive_file 1\ntotal_inactive_file 20"
    group("memory/old", limit_in_bytes="700", usage_in_bytes="100", stat=stat)
    assert cgroup_memory(tmp_path) == [800, 620]


@pytest.mark.parametrize(
    ("given", "megabytes"),
    [
        ({"MEM_PER_NODE": "64"}, 64),
        ({"MEM_PER_CPU": "16", "CPUS_ON_NODE": "3"}, 48),
        ({"MEM_PER_NODE": "0"}, None),  # all of the node's
        ({}, None),
    ],
)
def test_memory_that_slurm_gives(
    given: dict[str, str], megabytes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rosetta_lab.run.memory.cgroup_memory", lambda: [])
    for name in ("MEM_PER_NODE", "MEM_PER_CPU", "CPUS_ON_NODE"):
        monkeypatch.delenv(f"SLURM_{name}", raising=False)
    free = available_memory("cpu")
    assert free > 2**30
    for name, value in given.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert (available_memory("cpu") < 2**30) == (megabytes is not None)
    assert megabytes is None or available_memory("cpu") == megabytes * 2**20
