"""The process in which a checkpoint is converted: its limits, its end, what it says."""

from __future__ import annotations

import json
import logging
import os
import textwrap
from pathlib import Path

import pytest
import torch
from checkpoint_checks import assert_same_state, no_room
from checkpoint_files import Golden, rosinality_checkpoint
from hostile import legacy_file, payloads

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import child, convert, load_weights

STATE = {"weight": torch.arange(6.0).reshape(2, 3)}


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))


def misbehaving(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process do something else than reading, as a reader with a mistake might."""
    lines = "import rosetta_lab.models.checkpoints.child as child, sys, time\n"
    lines += textwrap.dedent(code)
    start, *_ = convert.CHILD.partition("from rosetta_lab.models.checkpoints.child")
    monkeypatch.setattr(convert, "CHILD", f"{start}\n{lines}\nchild.main()\n")


def fails(path: Path) -> str:
    with pytest.raises(RosettaError) as caught:
        load_weights(str(path))
    message = str(caught.value)
    assert message.count("\n") == 1 and str(path) in message
    assert not list(path.parent.rglob("converted/*.safetensors*[!k]"))
    return message


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.save(STATE, tmp_path / "model.pth")
    return tmp_path / "model.pth"


def test_conversion(model: Path, tmp_path: Path) -> None:
    weights = load_weights(str(model))
    assert_same_state(weights, STATE)
    assert weights.file is not None
    recorded = weights.file.with_name(weights.file.name + ".sha256").read_text().split()[0]
    here = child.convert(model, tmp_path / "here", {"source": str(model), "sha256": weights.sha256})
    assert here == recorded
    assert (tmp_path / "here").read_bytes() == weights.file.read_bytes()


def test_it_does_without_torch_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library that could unpickle is not even imported."""
    code = """
        class Main:
            def __call__(self):
                assert "torch" not in sys.modules
                original()
        original, child.main = child.main, Main()
    """
    misbehaving(code, monkeypatch)
    marker = tmp_path / "ran"
    torch.save({"model": payloads(marker)["builtins.eval"]}, tmp_path / "model.pth")
    assert "builtins.eval" in fails(tmp_path / "model.pth")
    assert not marker.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_what_it_warns_of_is_logged_here(
    zipped: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = {"g_ema": rosinality_checkpoint(Golden.read("stylegan2_rosinality"))["g_ema"]}
    torch.save(checkpoint, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    load_weights(str(tmp_path / "w.pt"))
    (record,) = [r for r in caplog.records if "has no latent_avg" in r.getMessage()]
    assert record.levelno == logging.WARNING and record.name.startswith("rosetta_lab")


def test_what_it_refuses_is_said_here(tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(legacy_file(120_000, (), b""))
    assert "other storages than its tensors have" in fails(tmp_path / "model.pth")


# the backstop ----------------------------------------------------------------------------------


def test_no_end_in_sight(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    misbehaving(
        """
        def read(path):
            while True:
                pass
        child.read, child.SECONDS = read, 1
        """,
        monkeypatch,
    )
    assert "more time or memory than a file of its size can need (status -" in fails(model)


def test_asleep(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes no time of the processor's."""
    misbehaving("child.read = lambda path: time.sleep(1000)", monkeypatch)
    monkeypatch.setattr(convert, "PATIENCE", 1)
    monkeypatch.setattr(convert, "seconds", lambda size: 1)
    assert "no end in sight" in fails(model)


@pytest.mark.parametrize("how", ["bytearray(1 << 30)", "[list(range(100)) for _ in range(10**7)]"])
def test_no_end_of_memory(how: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    misbehaving(f"child.read = lambda path: {how}", monkeypatch)
    assert "more time or memory than a file of its size can need" in fails(model)


def test_no_end_of_memory_within_a_reader(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    misbehaving(
        """
        import rosetta_lab.models.checkpoints.reading as reading
        reading._read = lambda path: bytearray(1 << 30)
        """,
        monkeypatch,
    )
    assert "more memory than a file of its size can need" in fails(model)


@pytest.mark.parametrize(
    "end", ["sys.exit(3)", "import os; os.abort()", "import os; os.kill(os.getpid(), 9)"]
)
def test_a_sudden_end(end: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    misbehaving(f"def read(path):\n    {end}\nchild.read = read", monkeypatch)
    assert "refused" in fails(model)


def test_the_next_attempt_is_a_new_one(model: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        misbehaving("sys.exit(3)", patch)
        fails(model)
    assert_same_state(load_weights(str(model)), STATE)


# the place -------------------------------------------------------------------------------------


def test_a_full_disk(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(5000)}, tmp_path / "model.pth")
    with no_room(), pytest.raises(RosettaError) as caught:
        load_weights(str(tmp_path / "model.pth"))
    first, second = str(caught.value).splitlines()
    assert "cannot write" in first and "File too large" in first and "ROSETTA_CACHE" in second
    assert not list(tmp_path.rglob("converted/*.safetensors*[!k]"))


@pytest.mark.parametrize("cache", ["/proc/nothing/here", "/dev/null", "/dev/null/here"])
def test_a_cache_that_cannot_be(cache: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROSETTA_CACHE", cache)
    with pytest.raises(RosettaError) as caught:
        load_weights(str(model))
    assert "ROSETTA_CACHE" in str(caught.value) and str(caught.value).count("\n") == 1


def test_it_is_this_package_wherever_one_stands(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules in the current folder, such as a stranger's, are not imported."""
    for name in ("rosetta_lab", "json", "numpy", "mmap"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the folder')")
    monkeypatch.chdir(tmp_path)
    assert_same_state(load_weights(model.name), STATE)


def test_names_that_are_hard_to_pass_on(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"-w \xff'\"$(touch x)\n.pth")
    torch.save(STATE, tmp_path / "model.pth")
    (tmp_path / "model.pth").rename(path)
    assert_same_state(load_weights(str(path)), STATE)


def test_the_report_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    child.report("warning", "two\nlines \u202e")
    assert json.loads(capsys.readouterr().out) == {"warning": "two\nlines \u202e"}
