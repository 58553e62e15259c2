"""``names.json`` beside a dictionary, which may be anybody's."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from rosetta_lab.dictionary.mined import EMBEDDED
from rosetta_lab.dictionary.names import FILE_NAME, Name, load_names, save_names
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError

DICTIONARY = RosettaDictionary.load(EMBEDDED)


def called(concept: int, word: str = "red", **other: object) -> Name:
    fields = {"name": word, "word": word, "score": 2.0, "runner_up": None, "runner_up_score": None}
    return Name(**({"concept": concept, "chance": 0.01} | fields | other))


def test_names_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert load_names(tmp_path, DICTIONARY) == {}
    names = [called(0), called(3, "ankle boot", name=None, runner_up="bag", runner_up_score=1.5)]
    save_names(tmp_path, DICTIONARY, "clip", names)
    assert load_names(tmp_path, DICTIONARY) == {0: names[0], 3: names[1]}
    again = RosettaDictionary.load(EMBEDDED)
    assert load_names(tmp_path, again).keys() == {0, 3}


def test_names_of_another_dictionary_are_refused(tmp_path: Path) -> None:
    save_names(tmp_path, DICTIONARY, "clip", [called(0)])
    other = copy.deepcopy(DICTIONARY)
    other.seed += 1
    with pytest.raises(RosettaError, match=r"names of another dictionary.*\nName these"):
        load_names(tmp_path, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "rosetta_lab.names/9"}, "schema"),
        ({"concepts": [{"concept": 0, "word": "red"}]}, "concepts.0"),
        ({"concepts": "x"}, "concepts"),
        ({"extra": 1}, "extra"),
        ({"dictionary": "x"}, "dictionary"),
    ],
)
def test_files_of_strangers_are_refused(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = save_names(tmp_path, DICTIONARY, "clip", [called(0)])
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RosettaError, match=message) as error:
        load_names(tmp_path, DICTIONARY)
    assert len(str(error.value).splitlines()) == 2


def test_concepts_that_are_not_there_are_refused(tmp_path: Path) -> None:
    for concepts in ([len(DICTIONARY.concepts)], [1, 1]):
        save_names(tmp_path, DICTIONARY, "clip", [called(number) for number in concepts])
        with pytest.raises(RosettaError, match="another dictionary"):
            load_names(tmp_path, DICTIONARY)
    (tmp_path / FILE_NAME).write_text("{")
    with pytest.raises(RosettaError, match="not JSON"):
        load_names(tmp_path, DICTIONARY)
