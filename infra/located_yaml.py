"""Which file and line did a configured value come from? YAML that keeps its marks, also after layers are merged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Located:
    """A value with its place. ``value`` is a dict of Located, a list of Located, or a scalar."""

    value: Any
    file: Path
    line: int

    def plain(self) -> Any:
        """The value without its marks."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def at(self, path: Sequence[str | int]) -> Located:
        """The deepest value on the way to ``path``: a missing field is reported at its parent."""
        here = self
        for step in path:
            if isinstance(here.value, dict) and str(step) in here.value:
                here = here.value[str(step)]
            elif isinstance(here.value, list) and isinstance(step, int) and step < len(here.value):
                here = here.value[step]
            elif isinstance(here.value, list) and str(step).isdigit() and int(step) < len(here.value):
                here = here.value[int(step)]
            else:
                break
        return here

    def get(self, key: str) -> Located | None:
        return self.value.get(key) if isinstance(self.value, dict) else None


class YamlProblem(Exception):
    """The file is not the YAML that is understood here."""

    def __init__(self, file: Path, line: int, problem: str, remedy: str) -> None:
        super().__init__(f"{file}:{line}: {problem}; {remedy}")
        self.file = file
        self.line = line
        self.problem = problem
        self.remedy = remedy


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core types only: ``NO`` is Norway, ``on`` is a word, a date is text, a fraction is exact."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own protocol: a class attribute that replaces the parent's

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="an alias (*name) stands here", problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("null", r"^(?:~|null|Null|NULL|)$", "~nN\0"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), [*_first] if _tag != "null" else ["~", "n", "N", ""])


def read(file: Path) -> Located:
    """The file's mapping. Raises YamlProblem for syntax, duplicate keys, aliases, and anything that is no mapping."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise YamlProblem(file, 1, f"cannot be read: {error}", "check the path and that it is UTF-8 text") from error
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise YamlProblem(file, mark.line + 1 if mark else 1, problem, "correct the YAML (spaces, not tabs; quote text with : or #; write repeated parts out)") from error
    except yaml.YAMLError as error:
        raise YamlProblem(file, 1, str(error), "the file must be plain text in YAML") from error
    finally:
        loader.dispose()
    if node is None:
        return Located({}, file, 1)
    if not isinstance(node, yaml.MappingNode):
        raise YamlProblem(file, node.start_mark.line + 1, "the file holds no mapping", "start it with `name: value` lines")
    return _located(node, file, node.start_mark.line + 1)


def merge(lower: Located, upper: Located) -> Located:
    """``upper`` over ``lower``: mappings are merged deeply, everything else (lists too) is replaced."""
    if isinstance(lower.value, dict) and isinstance(upper.value, dict):
        merged = dict(lower.value)
        for key, item in upper.value.items():
            merged[key] = merge(merged[key], item) if key in merged else item
        return Located(merged, upper.file, upper.line)
    return upper


def _located(node: yaml.Node, file: Path, line: int) -> Located:
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Located] = {}
        for key_node, value_node in node.value:
            here = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlProblem(file, here, "a key is not a plain word", "write `name: value`")
            key = str(key_node.value)
            if key == "<<":
                raise YamlProblem(file, here, "merge keys (<<) are not understood", "write the values out: layers are merged for you")
            if key in values:
                raise YamlProblem(file, here, f"the key {key!r} stands here twice (first in line {values[key].line})", "keep one of the two")
            values[key] = _located(value_node, file, here)
        return Located(values, file, line)
    if isinstance(node, yaml.SequenceNode):
        return Located([_located(item, file, item.start_mark.line + 1) for item in node.value], file, line)
    return Located(_scalar(node, file), file, line)


def _scalar(node: yaml.Node, file: Path) -> Any:
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    text = str(node.value)
    if kind == "str":
        return text
    if kind == "int":
        return int(text)
    if kind == "float":
        return Decimal(text)  # never binary: money and quantities are written here
    if kind == "bool":
        return text.lower() == "true"
    if kind == "null":
        return None
    raise YamlProblem(file, node.start_mark.line + 1, f"the tag {node.tag} is not understood", "remove it: values are text, numbers, true/false, lists and mappings")
