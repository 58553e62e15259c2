"""timm's and open_clip's published weights: fetched from the hub, read by the project's readers."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostile
import pytest
import timm
import torch
from file_server import FileServer, file_server
from safetensors.torch import save
from torch import nn

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.hub import load_from_hub
from rosetta_lab.models.discriminative.open_clip import OpenClipModel, load_tag
from rosetta_lab.models.discriminative.timm import TimmModel

TINY = "test_resnet.r160_in1k"  # timm's own, for tests
SMALL_CLIP = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8},
    "text_cfg": {"context_length": 4, "vocab_size": 8, "width": 16, "heads": 2, "layers": 1},
}
COMMIT = "c0ffee" * 6 + "c0ff"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A hub on this machine; the caches are empty; nobody waits before trying again."""
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ROSETTA_OFFLINE", raising=False)
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    constants = "huggingface_hub.constants"
    monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)  # read from the environment at import
    monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("time.sleep", lambda _: None)
    with file_server() as server:
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(f"{constants}.ENDPOINT", server.url)
        monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)
        server.missing = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
        yield server


def publish(hub: FileServer, repository: str, name: str, data: bytes, **options: Any) -> str:
    """Serve a large file as the hub does; returns the path of its address."""
    path = f"/{repository}/resolve/main/{name}"
    etag = f'"{hashlib.sha256(data).hexdigest()}"'
    hub.serve(path, data, **{"etag": etag, "headers": {"X-Repo-Commit": COMMIT}} | options)
    return path


def downloaded_by_the_hub(tmp_path: Path, repository: str, name: str, data: bytes) -> None:
    """Lay ``data`` out in the cache folder of :func:`hub`, as huggingface_hub does."""
    folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    (snapshot / name).write_bytes(data)


def pickled(state: dict[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def assert_same(network: nn.Module, expected: nn.Module) -> None:
    given = network.state_dict()
    assert given.keys() == expected.state_dict().keys()
    for name, value in expected.state_dict().items():
        assert torch.equal(given[name], value), name


def test_timm(hub: FileServer) -> None:
    saved = TimmModel(TINY, "random", ["layer1"])
    data = save(saved.network.state_dict())
    publish(hub, f"timm/{TINY}", "model.safetensors", data)
    loaded = TimmModel(TINY, "pretrained", ["layer1"])
    assert_same(loaded.network, saved.network)
    assert loaded.source == f"timm://{TINY}"
    assert loaded.sha256 == hashlib.sha256(data).hexdigest()
    assert loaded.preprocess == saved.preprocess
    headless = TimmModel(TINY, "pretrained", ["layer1"], None, {"num_classes": 0})
    assert torch.equal(headless.network.conv1[0].weight, saved.network.conv1[0].weight)
    assert "state_dict" not in headless.network.pretrained_cfg


def test_open_clip(hub: FileServer) -> None:
    saved = OpenClipModel("RN50", "random", ["visual.layer1"], None, SMALL_CLIP)
    data = pickled(saved.network.state_dict())
    path = publish(hub, "timm/resnet50_clip.openai", "open_clip_pytorch_model.bin", data)
    loaded = OpenClipModel("RN50", "openai", ["visual.layer1"], None, SMALL_CLIP)
    assert hub.looks[0] == path.replace("pytorch_model.bin", "model.safetensors")
    assert [asked for asked, *_ in hub.requests] == [path]
    assert_same(loaded.network, saved.network)
    assert loaded.source == "open_clip://RN50/openai"
    assert loaded.sha256 == hashlib.sha256(data).hexdigest()
    assert loaded.preprocess.mean == (0.48145466, 0.4578275, 0.40821073)
    assert loaded.preprocess.interpolation == "bicubic"
    with pytest.raises(
        RosettaError, match=r"open_clip://RN50/openai does not fit RN50: .*size mis"
    ):
        OpenClipModel("RN50", "openai", ["visual.layer1"], None, SMALL_CLIP | {"embed_dim": 9})


def test_the_next_file_is_asked_for_where_the_hub_lacks_one(
    hub: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time, offline, what was found is taken at once."""
    data = pickled(TimmModel(TINY, "random", ["layer1"]).network.state_dict())
    publish(hub, f"timm/{TINY}", "pytorch_model.bin", data)
    elsewhere = hub.serve("/elsewhere.pth", data)
    names = ["model.safetensors", "pytorch_model.bin"]
    assert load_from_hub(f"timm/{TINY}", names, elsewhere).source.endswith("pytorch_model.bin")
    asked = [path.rsplit("/", 1)[-1] for path in hub.looks]
    assert list(dict.fromkeys(asked)) == names
    assert load_from_hub("timm/x", names, elsewhere).source == elsewhere
    for headers in (hub.missing, {}):  # a mirror may not say what it is that is missing
        hub.missing = headers
        with pytest.raises(
            RosettaError, match=r"timm/x/resolve/main/model.safetensors answers HTTP 404"
        ):
            load_from_hub("timm/x", names)
    monkeypatch.setenv("ROSETTA_OFFLINE", "1")
    assert load_from_hub(f"timm/{TINY}", names, elsewhere).source.endswith("pytorch_model.bin")
    assert load_from_hub("timm/x", names, elsewhere).source == elsewhere


def test_timms_entry_says_where_else(hub: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = TimmModel(TINY, "random", ["layer1"])
    url = hub.serve("/elsewhere.pth", pickled(saved.network.state_dict()))
    entry = dataclasses.replace(timm.get_pretrained_cfg(TINY), url=url)
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: entry)
    assert_same(TimmModel(TINY, "pretrained", ["layer1"]).network, saved.network)


def test_a_busy_hub_is_no_reason_to_look_elsewhere(
    hub: FileServer,
) -> None:
    """It is waited for."""
    publish(hub, "timm/x", "a", pickled({"w": torch.ones(1)}), statuses=[503] * 99)
    publish(hub, "timm/x", "b", pickled({"w": torch.zeros(1)}))
    with pytest.raises(RosettaError, match=r"cannot download \S*timm/x/\S*a: .*503") as error:
        load_from_hub("timm/x", ["a", "b"])
    assert len(str(error.value).splitlines()) == 2
    hub.files["/timm/x/resolve/main/a"].statuses[2:] = []
    assert load_from_hub("timm/x", ["a", "b"]).state_dict["w"] == 1.0


def test_a_network_that_is_not_there_is_told_of_at_once(
    hub: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = "http://127.0.0.1:1/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", nowhere)
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waited"))
    with pytest.raises(RosettaError, match=r"cannot download \S*timm/x/\S*a: .*refused") as error:
        load_from_hub("timm/x", ["a", "b"])
    assert len(str(error.value).splitlines()) == 2 and "weights=PATH" in str(error.value)


def test_downloads_lie_in_the_cache_and_are_checked(hub: FileServer, tmp_path: Path) -> None:
    data = pickled({"w": torch.ones(1)})
    path = publish(hub, "timm/x", "a", data, drops=[len(data) // 2])  # which it makes up for
    source = Path(load_from_hub("timm/x", ["a"]).source)
    assert tmp_path / "cache" in source.parents and source.read_bytes() == data
    assert (tmp_path / "cache" / "hub").stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "hub").exists()
    asked = len(hub.looks) + len(hub.requests)
    assert load_from_hub("timm/x", ["a"]).sha256 == hashlib.sha256(data).hexdigest()
    assert len(hub.looks) + len(hub.requests) == asked
    source.resolve().write_bytes(data[:-1] + b"?")
    with pytest.raises(RosettaError, match=f"expected {hashlib.sha256(data).hexdigest()}") as error:
        load_from_hub("timm/x", ["a"])
    assert f"Delete {source.resolve()} and try again" in str(error.value)
    source.resolve().unlink()
    load_from_hub("timm/x", ["a"])
    assert source.read_bytes() == data
    publish(hub, "timm/y", "a", data[:-1] + b"!", etag=hub.files[path].etag)
    with pytest.raises(RosettaError, match=f"expected {hashlib.sha256(data).hexdigest()}"):
        load_from_hub("timm/y", ["a"])


def test_endpoint_login_and_progress(hub: FileServer, tmp_path: Path) -> None:
    """As a user sets them, before the library is imported; large files lie on other hosts."""
    data = save({"w": torch.ones(1)})
    hub.serve("/cdn", data)
    large = {"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"'}
    large |= {
        "X-Linked-Size": str(len(data)),
        "Location": hub.url.replace("127.0.0.1", "localhost"),
    }
    large["Location"] += "/cdn"
    publish(hub, "timm/x", "a", b"", answer=302, etag=None, headers=large)
    code = (
        "from rosetta_lab.models.checkpoints.hub import load_from_hub\n"
        "print(load_from_hub('timm/x', ['a']).sha256)"
    )
    environment = os.environ | {
        "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_secret", "HF_HOME": str(tmp_path / "home"),
        "TQDM_POSITION": "-1",  # the library's own way to ask for bars where there is no terminal
    }  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [hashlib.sha256(data).hexdigest()]
    assert "100%" in run.stderr
    to_hub = [login for login in hub.logins if login is not None]
    assert to_hub and set(to_hub) == {"Bearer hf_secret"}
    assert [path for path, *_ in hub.requests][-1] == "/cdn" and hub.logins[-1] is None


def test_tags_name_a_file_or_a_repository(hub: FileServer) -> None:
    data = pickled({"w": torch.ones(1)})
    publish(hub, "a/b", "c.bin", data)
    assert load_tag({"hf_hub": "a/b/c.bin"}).source.endswith("/c.bin")
    url = hub.serve("/w.pt", data)
    assert load_tag({"url": url}).source == url
    assert load_tag({"url": url, "hf_hub": "no/such/"}).source == url


def test_what_the_hub_has_downloaded_is_not_downloaded_again(
    hub: FileServer, tmp_path: Path
) -> None:
    data = pickled({"w": torch.ones(1)})
    downloaded_by_the_hub(tmp_path, "timm/x", "pytorch_model.bin", data)
    weights = load_from_hub("timm/x", ["model.safetensors", "pytorch_model.bin"])
    assert not hub.requests
    assert weights.sha256 == hashlib.sha256(data).hexdigest()
    assert torch.equal(weights.state_dict["w"], torch.ones(1))


@pytest.mark.parametrize(
    ("kind", "architecture", "weights", "repository", "name"),
    [
        (TimmModel, TINY, "pretrained", f"timm/{TINY}", "pytorch_model.bin"),
        (
            OpenClipModel,
            *("RN50", "openai", "timm/resnet50_clip.openai", "open_clip_pytorch_model.bin"),
        ),
    ],
)
def test_hostile_files_of_the_hub_are_refused(
    kind: type,
    architecture: str,
    weights: str,
    repository: str,
    name: str,
    hub: FileServer,
    tmp_path: Path,
) -> None:
    """Whichever version of timm or open_clip is there: neither gets to see the file."""
    marker = tmp_path / "ran"
    for payload in hostile.payloads(marker).values():
        data = pickled({"w": torch.ones(1), "x": payload})
        downloaded_by_the_hub(tmp_path, repository, name, data)
        with pytest.raises(RosettaError, match=r"refused: the pickle asks for .* Nothing was run"):
            kind(architecture, weights, ["layer1"])
        shutil.rmtree(tmp_path / "hub")
        assert not marker.exists()


@pytest.mark.parametrize(
    ("kind", "architecture", "weights", "url"),
    [
        (TimmModel, "vit_base_patch16_224.mae", "pretrained", "timm/vit_base_patch16_224.mae/"),
        (OpenClipModel, "RN50", "openai", "timm/resnet50_clip.openai/"),
    ],
)
def test_offline(
    kind: type, architecture: str, weights: str, url: str, tmp_path: Path, monkeypatch
) -> None:
    """The message names the URL, the cache folder and the way out."""
    monkeypatch.setenv("ROSETTA_OFFLINE", "1")
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path))
    with pytest.raises(RosettaError, match=f"https://huggingface.co/{url}") as error:
        kind(architecture, weights, ["layer1"])
    assert str(tmp_path) in str(error.value)
    assert "weights=PATH" in str(error.value)


def test_an_architecture_without_weights() -> None:
    with pytest.raises(RosettaError, match="timm has no weights for resnet50t"):
        TimmModel("resnet50t", "pretrained", ["layer1"])


@pytest.mark.parametrize(
    ("kind", "architecture", "options"),
    [(TimmModel, TINY, {}), (OpenClipModel, "RN50", SMALL_CLIP)],
)
def test_a_file_that_is_not_the_one_that_is_meant(
    kind: type, architecture: str, options: dict[str, Any], tmp_path: Path
) -> None:
    saved = kind(architecture, "random", [], None, options)
    data = save(saved.network.state_dict())
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    loaded = kind(architecture, str(path), [], None, options, sha256=digest)
    assert loaded.sha256 == digest
    with pytest.raises(RosettaError, match=f"{digest}, expected {'0' * 64}"):
        kind(architecture, str(path), [], None, options, sha256="0" * 64)
