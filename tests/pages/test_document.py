"""The frame of a page: its policy, its script, its data; and how templates are used."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from omegaconf import OmegaConf
from page_fixtures import HOSTILE
from sample_pages import HOSTILE_CLASS, dictionary_page, edit_page, inversions_page

from rosetta_lab.files import PACKAGE
from rosetta_lab.pages.document import TEMPLATES, asset, config_text, counted, write_document


def policy(page: str) -> dict[str, str]:
    found = re.search(r'"Content-Security-Policy" content="(.*?)"', page)
    assert found is not None
    return dict(part.strip().split(" ", 1) for part in found[1].split(";"))


@pytest.mark.parametrize(
    ("make", "script"),
    [(dictionary_page, "page.js"), (inversions_page, "gallery.js"), (edit_page, "")],
)
def test_the_policy_allows_the_pages_own_script_alone(
    make, script: str, tmp_path: Path
) -> None:  # fmt: skip
    page = make(tmp_path).read_text(encoding="utf-8")
    found = policy(page)
    assert found["default-src"] == "'none'"
    assert found["img-src"] == "'self' file: data:"
    inline = re.findall(r"<script>(.*?)</script>", page, re.S)
    assert inline == [asset("view.js"), *([asset(script)] if script else [])]
    hashes = [b64encode(sha256(code.encode()).digest()).decode() for code in inline]
    assert found.get("script-src", "") == " ".join(f"'sha256-{value}'" for value in hashes)


def test_data_comes_back_whatever_it_is() -> None:
    data = {HOSTILE: ["</script><!-- <script>", "a&b 'c' \u2028 é", HOSTILE_CLASS, 1.5, None]}
    element = TEMPLATES.from_string("{{ data | tojson }}").render(data=data)
    assert "<" not in element
    assert json.loads(element) == data


def test_a_value_that_a_template_lacks_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError, match="dictionary"):
        write_document(tmp_path / "index.html", "atlas.html.j2", subjects=[])
    assert not list(tmp_path.iterdir())


def test_configurations_are_shown_as_they_were_written() -> None:
    cfg = OmegaConf.create({"a": "${b}", "b": [1, None], "é": HOSTILE})
    assert json.loads(config_text(cfg)) == {"a": "${b}", "b": [1, None], "é": HOSTILE}
    assert config_text(Path("x")) == '"x"'  # what JSON cannot hold, as text


def test_counts_read_well() -> None:
    assert [counted(n, "image") for n in (0, 1, 1600)] == ["0 images", "1 image", "1,600 images"]


def test_templates_switch_nothing_off() -> None:
    templates = list((PACKAGE / "pages" / "templates").glob("*.j2"))
    assert len(templates) >= 8
    for path in templates:
        code = " ".join(re.findall(r"\{[{%].*?[%}]\}", path.read_text(), re.S))
        assert not re.search(r"\|\s*safe|autoescape|Markup", code), path


def test_nothing_but_templates_and_charts_writes_elements() -> None:
    allowed = {PACKAGE / "pages" / name for name in ("document.py", "axis.py")}
    for path in set(PACKAGE.rglob("*.py")) - allowed:
        text = path.read_text(encoding="utf-8")
        assert "html.escape" not in text and "from html import" not in text, path
        assert not re.search(r"\bMarkup\(|render_template|from_string", text), path
