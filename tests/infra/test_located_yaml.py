from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.located_yaml import Located, YamlProblem, merge, read


def _write(folder: Path, text: str) -> Path:
    file = folder / "sample.yaml"
    file.write_text(text)
    return file


def test_words_that_older_yaml_reads_as_something_else_stay_words(tmp_path: Path) -> None:
    read_back = read(_write(tmp_path, "norway: NO\nswitch: on\nday: 2026-01-31\ntime: 12:30:00\nzero: 007x\n")).plain()

    assert read_back == {"norway": "NO", "switch": "on", "day": "2026-01-31", "time": "12:30:00", "zero": "007x"}


def test_fractions_are_exact(tmp_path: Path) -> None:
    assert read(_write(tmp_path, "rate: 8.25\ncount: 12\n")).plain() == {"rate": Decimal("8.25"), "count": 12}


def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    with pytest.raises(YamlProblem, match="twice") as found:
        read(_write(tmp_path, "a: 1\nb:\n  c: 1\n  c: 2\n"))

    assert found.value.line == 4
    assert "first in line 3" in found.value.problem


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1, 2\n", 3),
        ("a: &x 1\nb: *x\n", 2),
        ("base: {x: 1}\nother:\n  <<: 1\n", 3),
        ("- a\n- b\n", 1),
        ("a: 1\nb: !!python/object:os.system x\n", 2),
        ("a:\n\t- x\n", 2),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(YamlProblem) as found:
        read(_write(tmp_path, text))

    assert found.value.line == line
    assert found.value.remedy


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "sample.yaml"
    file.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(YamlProblem, match="cannot be read"):
        read(file)


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    assert read(_write(tmp_path, "# nothing yet\n")).plain() == {}


def test_the_place_of_a_merged_value_is_the_file_it_came_from(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower.yaml", tmp_path / "upper.yaml"
    lower.write_text("a:\n  x: 1\n  y: 2\nlist: [1, 2, 3]\n")
    upper.write_text("# comment\na:\n  y: 3\nlist: [9]\n")

    merged = merge(read(lower), read(upper))

    assert merged.plain() == {"a": {"x": 1, "y": 3}, "list": [9]}
    assert (merged.at(["a", "x"]).file, merged.at(["a", "x"]).line) == (lower, 2)
    assert (merged.at(["a", "y"]).file, merged.at(["a", "y"]).line) == (upper, 3)


def test_a_missing_field_is_placed_at_its_parent(tmp_path: Path) -> None:
    tree = read(_write(tmp_path, "a:\n  list:\n    - x: 1\n    - x: 2\n"))

    assert tree.at(["a", "list", 1, "absent"]).line == 4
    assert tree.at(["nowhere", "at", "all"]).line == 1


_VALUES = st.recursive(st.integers() | st.text(max_size=5), lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3), max_leaves=8)


def _located(value: object, name: str) -> Located:
    if isinstance(value, dict):
        return Located({key: _located(item, name) for key, item in value.items()}, Path(name), 1)
    return Located(value, Path(name), 1)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), _VALUES, max_size=3), st.dictionaries(st.text("abc", min_size=1, max_size=2), _VALUES, max_size=3))
def test_merging_keeps_every_value_of_the_upper_layer(lower: dict[str, object], upper: dict[str, object]) -> None:
    merged = merge(_located(lower, "lower"), _located(upper, "upper")).plain()

    def holds(part: object, whole: object) -> bool:
        if isinstance(part, dict) and part and isinstance(whole, dict):
            return all(key in whole and holds(item, whole[key]) for key, item in part.items())
        return part == whole or (part == {} and isinstance(whole, dict))

    assert holds(upper, merged)
    assert set(merged) == set(lower) | set(upper)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), _VALUES, max_size=3))
def test_merging_a_layer_into_itself_changes_nothing(layer: dict[str, object]) -> None:
    located = _located(layer, "layer")

    assert merge(located, located).plain() == layer
