"""Which calls of AWS can each function's code come to? Read from the source, so that it says nothing of what a role allows.

From ``functions/<name>/handler.py`` every reference to a function or method counts as a call; the concrete class behind a port is the one that
``bootstrap`` constructs. Constants that decide what is touched (which queue, which flag) are followed through parameters, and a branch that they
rule out is not entered. The answer is therefore what the code can do at most, each call with the road that leads to it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

PORTS = "crossdock.domain.ports"
SERVICES = "crossdock.flows.services.Services"
SETTINGS = "crossdock.aws.settings.Settings"
QUEUES = ("inbound", "work", "outbound")

Values = frozenset[str]
"""What an expression may be: ``class:``, ``function:``, ``module:``, ``service:``, ``pages:`` (of a service's operation), ``setting:``, ``queue:``, ``bool:`` or ``text:``
and a name. Empty: nothing that matters here."""

NOTHING: Values = frozenset()
_SERVICES = {"dynamodb": "dynamodb", "s3": "s3", "sqs": "sqs", "events": "events", "stepfunctions": "states", "secretsmanager": "secretsmanager"}
"""A client's name and the prefix of its IAM actions."""
_KINDS = {"dynamodb": "_table", "s3": "_bucket", "sqs": "_url", "events": "bus_name", "stepfunctions": "_machine_arn", "secretsmanager": "secret_id"}
"""How the settings end that a service works on: an adapter may be made of two."""
_TRANSACTED = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


class UnreadableCode(Exception):
    """The code does something this reader cannot follow; the text says where."""


@dataclass(frozen=True, order=True)
class Call:
    """An IAM action on the resource behind a setting (``state_table``, ``state_table/index``, ``work_queue_url`` ...)."""

    action: str
    setting: str


@dataclass
class Module:
    name: str
    names: dict[str, ast.AST | str] = field(default_factory=dict)
    """What a name of the module is: its definition, or the full name of what was imported."""


@dataclass(frozen=True)
class Scope:
    """Where an expression stands: its module, its class (or empty), and what its names are bound to."""

    module: str
    owner: str
    bound: Mapping[str, Values]


def _read(root: Path) -> dict[str, Module]:
    python = root / "layers" / "crossdock" / "python"
    files = {".".join(file.relative_to(python).with_suffix("").parts).removesuffix(".__init__"): file for file in python.rglob("*.py")}
    files |= {f"functions.{file.parent.name}.handler": file for file in (root / "functions").glob("*/handler.py")}
    modules = {}
    for name, file in files.items():
        module = modules[name] = Module(name)
        tree = ast.parse(file.read_text(encoding="utf-8"))
        _declare(module, [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)])  # also those inside functions
        _declare(module, tree.body)
    return modules


def _declare(module: Module, statements: list[ast.stmt]) -> None:
    for statement in statements:
        if isinstance(statement, ast.Import):
            module.names |= {alias.asname or alias.name: alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            module.names |= {alias.asname or alias.name: f"{statement.module}.{alias.name}" for alias in statement.names}
        elif isinstance(statement, ast.FunctionDef | ast.ClassDef):
            module.names[statement.name] = statement
        elif isinstance(statement, ast.Assign):
            module.names |= {target.id: statement.value for target in statement.targets if isinstance(target, ast.Name)}
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value is not None:
            module.names[statement.target.id] = statement.value


class Code:
    """The shared layer's and the functions' source, and what can be asked of it."""

    def __init__(self, root: Path) -> None:
        self._modules = _read(root)
        self._fields: dict[tuple[str, str], Values] = {}
        self._calls: dict[str, dict[Call, str]] = {}
        self._given: dict[tuple[str, str], list[tuple[ast.expr, Scope]]] = {}

    @cached_property
    def functions(self) -> list[str]:
        return sorted(name.split(".")[1] for name in self._modules if name.startswith("functions."))

    @cached_property
    def ports(self) -> frozenset[str]:
        """The names under which flows reach the outside; a call behind one of them that cannot be followed is an error here."""
        found = self.definition(SERVICES)
        if found is None or not isinstance(found[1], ast.ClassDef):
            raise UnreadableCode(f"{SERVICES} is gone: where do flows find their ports now?")
        names = {
            statement.target.id: self.annotated(found[0], statement.annotation)
            for statement in found[1].body
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        }
        return frozenset(name for name, types in names.items() if any(each.startswith(f"class:{PORTS}.") for each in types))

    def calls(self, function: str) -> dict[Call, str]:
        """Every call that the function can come to, with one road to it."""
        if function not in self._calls:
            found = _Walk(self)
            found.enter(f"functions.{function}.handler.handler", {}, ())
            self._calls[function] = dict(sorted(found.calls.items()))
        return self._calls[function]

    # -- names

    def definition(self, full: str) -> tuple[str, ast.AST] | None:
        """(module, definition) of a dotted name, through imports; methods included."""
        for cut in range(full.count(".") + 1):
            module, _, rest = (full, "", "") if cut == 0 else _split(full, cut)
            if module in self._modules:
                return self._within(module, rest.split(".") if rest else [])
        return None

    def _within(self, module: str, path: list[str]) -> tuple[str, ast.AST] | None:
        if not path:
            return None
        found = self._modules[module].names.get(path[0])
        if isinstance(found, str):
            return self.definition(".".join([found, *path[1:]]))
        for name in path[1:]:
            found = self._member(found, name) if isinstance(found, ast.ClassDef) else None
        return (module, found) if found is not None else None

    @staticmethod
    def _member(cls: ast.ClassDef, name: str) -> ast.AST | None:
        for statement in cls.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == name:
                return statement
            if isinstance(statement, ast.Assign) and any(isinstance(target, ast.Name) and target.id == name for target in statement.targets):
                return statement.value
        return None

    def full_name(self, module: str, name: str) -> str | None:
        """The dotted name of what a name of the module stands for, if it is ours."""
        found = self._modules[module].names.get(name)
        if isinstance(found, str):
            head, _, tail = found.rpartition(".")
            deeper = self.full_name(head, tail) if head in self._modules and found not in self._modules else None
            return deeper or (found if found.startswith("crossdock") else None)
        return f"{module}.{name}" if found is not None else None

    def method(self, cls: str, name: str) -> str | None:
        """The full name of a class's method, its own or inherited."""
        found = self.definition(cls)
        if found is None or not isinstance(found[1], ast.ClassDef):
            return None
        if isinstance(self._member(found[1], name), ast.FunctionDef):
            return f"{cls}.{name}"
        for base in found[1].bases:
            inherited = self.annotated(found[0], base)
            for each in inherited:
                deeper = self.method(each.removeprefix("class:"), name)
                if deeper:
                    return deeper
        return None

    def implementers(self, cls: str) -> list[str]:
        """The connectors' classes for the interface of a connector; else the class itself."""
        if cls != "crossdock.domain.connector.Connector":
            return [cls]
        return [
            f"{module.name}.{name}"
            for module in self._modules.values()
            if module.name.startswith("crossdock.connectors.")
            for name, found in module.names.items()
            if isinstance(found, ast.ClassDef) and name.endswith("Connector")
        ]

    def annotated(self, module: str, annotation: ast.AST | None) -> Values:
        """The classes of ours that an annotation names."""
        if isinstance(annotation, ast.Subscript):
            return self.annotated(module, annotation.value)
        if isinstance(annotation, ast.BinOp):
            return self.annotated(module, annotation.left) | self.annotated(module, annotation.right)
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            return self.annotated(module, ast.parse(annotation.value, mode="eval").body)
        if isinstance(annotation, ast.Name):
            full = self.full_name(module, annotation.id)
            if full and full.endswith(".QueueName"):
                return frozenset(f"queue:{queue}" for queue in QUEUES)
            found = self.definition(full) if full else None
            if full and found is not None and isinstance(found[1], ast.ClassDef):
                return frozenset({f"class:{full}"})
        return NOTHING

    # -- what objects are made of

    @cached_property
    def _constructions(self) -> dict[str, list[tuple[ast.Call, str, str, ast.FunctionDef]]]:
        """Where an instance is made: by class, the call, its module, class and function."""
        found = defaultdict(list)
        for module in self._modules.values():
            if not module.name.startswith(("crossdock.domain.", "crossdock.connectors.")):
                for name, top in module.names.items():
                    for owner, function in _functions_of(module.name, name, top):
                        for node in ast.walk(function):
                            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                                for made in self.evaluate(node.func, Scope(module.name, "", {})):
                                    found[made.removeprefix("type:")].append((node, module.name, owner, function))
        return found

    def given(self, cls: str, name: str) -> list[tuple[ast.expr, Scope]]:
        """What is passed for a constructor's parameter (or a dataclass's field)."""
        if (cls, name) not in self._given:
            self._given[cls, name] = self._look_for_given(cls, name)
        return self._given[cls, name]

    def _look_for_given(self, cls: str, name: str) -> list[tuple[ast.expr, Scope]]:
        position = None
        found = self.definition(f"{cls}.__init__")
        if found is not None and isinstance(found[1], ast.FunctionDef):
            position = next((index for index, parameter in enumerate(found[1].args.args[1:]) if parameter.arg == name), None)
        passed = []
        for call, module, owner, function in self._constructions.get(cls, []):
            values = [keyword.value for keyword in call.keywords if keyword.arg == name]
            if position is not None and position < len(call.args):
                values.append(call.args[position])
            if values:
                scope = Scope(module, owner, self.bindings(module, owner, function, {}))
                passed += [(value, scope) for value in values]
        return passed

    def field(self, cls: str, name: str) -> Values:
        """What an instance's attribute may hold."""
        key = (cls, name)
        if key not in self._fields:
            self._fields[key] = NOTHING  # a field that is made of itself says nothing new
            self._fields[key] = self._look_for_field(cls, name)
        return self._fields[key]

    def _look_for_field(self, cls: str, name: str) -> Values:
        found = self.definition(f"{cls}.__init__")
        if found is None or not isinstance(found[1], ast.FunctionDef):
            values: Values = NOTHING
            for expression, scope in self.given(cls, name):
                values |= self.evaluate(expression, scope)
            definition = self.definition(cls)
            if not values and definition is not None and isinstance(definition[1], ast.ClassDef):
                for statement in definition[1].body:
                    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.target.id == name:
                        values |= self.annotated(definition[0], statement.annotation)
            return values
        module, made = found[0], found[1]
        bound: dict[str, Values] = {}
        for parameter in made.args.args[1:] + made.args.kwonlyargs:
            passed: Values = NOTHING
            for expression, scope in self.given(cls, parameter.arg):
                passed |= self.evaluate(expression, scope)
            bound[parameter.arg] = passed or self.annotated(module, parameter.annotation)
        scope = Scope(module, cls, bound)
        values = NOTHING
        for node in ast.walk(made):
            pairs: list[tuple[ast.expr, ast.expr | None]] = []
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    matched = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                    pairs += zip(target.elts, node.value.elts, strict=True) if matched else [(target, node.value)]  # type: ignore[attr-defined]
            elif isinstance(node, ast.AnnAssign):
                pairs = [(node.target, node.value)]
            for target, value in pairs:
                if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self" and target.attr == name and value is not None:
                    values |= self.evaluate(value, scope)
        return values

    def resources_of(self, cls: str, seen: frozenset[str] = frozenset()) -> set[str]:
        """The settings that an adapter was made with, its own or those of what it is made of."""
        definition = self.definition(f"{cls}.__init__")
        if definition is None or cls in seen:
            return set()
        fields = {
            node.attr
            for node in ast.walk(definition[1])
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self"
        }
        values = frozenset[str]().union(*(self.field(cls, name) for name in fields))
        own = {value.removeprefix("setting:") for value in values if value.startswith("setting:")}
        if own:
            return own
        return {found for value in values if value.startswith("class:crossdock.aws.") for found in self.resources_of(value.removeprefix("class:"), seen | {cls})}

    # -- what an expression is

    def bindings(self, module: str, owner: str, function: ast.AST, given: Mapping[str, Values]) -> dict[str, Values]:
        """The parameters and local names of a function (with those of functions inside it)."""
        bound: dict[str, Values] = {}
        inner = [node for node in ast.walk(function) if isinstance(node, ast.FunctionDef | ast.Lambda)]
        for each in inner:
            arguments = each.args
            everything = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            for parameter in everything:
                bound[parameter.arg] = self.annotated(module, parameter.annotation)
                if parameter.annotation is None and parameter.arg == "services":  # a lambda says no types; everywhere else they are written
                    bound[parameter.arg] = frozenset({f"class:{SERVICES}"})
            if each is function:
                positional = [*arguments.posonlyargs, *arguments.args]
                defaults = [*zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True)]
                defaults += [(name, value) for name, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value is not None]
                bound |= {parameter.arg: known for parameter, value in defaults if (known := _constant(value))}
        if owner and "self" in bound:
            bound["self"] = frozenset({f"class:{owner}"})
        bound |= given
        for _ in range(2):  # a name may be used above its assignment, inside a function that is called below
            scope = Scope(module, owner, bound)
            for node in ast.walk(function):
                if isinstance(node, ast.Assign):
                    for target in node.targets:
                        if isinstance(target, ast.Name):
                            bound[target.id] = bound.get(target.id, NOTHING) | self.evaluate(node.value, scope)
                        elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple) and len(target.elts) == len(node.value.elts):
                            for name, value in zip(target.elts, node.value.elts, strict=True):
                                if isinstance(name, ast.Name):
                                    bound[name.id] = bound.get(name.id, NOTHING) | self.evaluate(value, scope)
        return bound

    def evaluate(self, node: ast.AST | None, scope: Scope) -> Values:
        if isinstance(node, ast.Name):
            return self._name(node.id, scope)
        if isinstance(node, ast.Attribute):
            return frozenset().union(*(self._attribute(value, node.attr) for value in self.evaluate(node.value, scope)))
        if isinstance(node, ast.Call):
            return self._called(node, scope)
        if isinstance(node, ast.Constant):
            return _constant(node)
        if isinstance(node, ast.BoolOp):
            return frozenset().union(*(self.evaluate(part, scope) for part in node.values))
        if isinstance(node, ast.IfExp):
            return self.evaluate(node.body, scope) | self.evaluate(node.orelse, scope)
        return NOTHING

    def _name(self, name: str, scope: Scope) -> Values:
        if name in scope.bound:
            return scope.bound[name]
        full = self.full_name(scope.module, name)
        if full is None:
            return NOTHING
        if full in self._modules:
            return frozenset({f"module:{full}"})
        found = self.definition(full)
        if found is None:
            return NOTHING
        if isinstance(found[1], ast.ClassDef):
            return frozenset({f"type:{full}"})
        return frozenset({f"function:{full}"})

    def _attribute(self, value: str, name: str) -> Values:
        kind, _, what = value.partition(":")
        if kind == "module":
            return self._name(name, Scope(what, "", {}))
        if kind == "type":
            found = self.definition(f"{what}.{name}")
            if what.endswith(".QueueName") and found is not None and isinstance(found[1], ast.Constant) and isinstance(found[1].value, str):
                return frozenset({f"queue:{found[1].value}"})
            return frozenset({f"function:{what}.{name}"}) if found is not None and isinstance(found[1], ast.FunctionDef) else NOTHING
        if kind != "class":
            return NOTHING
        if what.startswith("crossdock.aws.") and what.endswith("Clients") and name in _SERVICES:
            return frozenset({f"service:{name}"})
        if what == SETTINGS and not self.method(what, name):
            return frozenset({f"setting:{name}"})
        values: Values = NOTHING
        for cls in self.implementers(what):
            method = self.method(cls, name)
            if method is None:
                values |= self.field(cls, name)
                continue
            found = self.definition(method)
            if found is not None and isinstance(found[1], ast.FunctionDef) and _is_property(found[1]):
                values |= self._returned(cls, found[0], found[1])
            else:
                values |= {f"function:{method}"}
        return values

    def _returned(self, owner: str, module: str, function: ast.FunctionDef) -> Values:
        known = self.annotated(module, function.returns)
        if known:
            return known
        scope = Scope(module, owner, {"self": frozenset({f"class:{owner}"})} if owner else {})
        return frozenset().union(*(self.evaluate(node.value, scope) for node in ast.walk(function) if isinstance(node, ast.Return)))

    def _called(self, node: ast.Call, scope: Scope) -> Values:
        values: Values = NOTHING
        if isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) >= 2:
            names = [text.removeprefix("text:") for text in self.evaluate(node.args[1], scope) if text.startswith("text:")]
            return frozenset(f"operation:{value.removeprefix('service:')}:{name}" for value in self.evaluate(node.args[0], scope) if value.startswith("service:") for name in names)
        if isinstance(node.func, ast.Attribute):
            for receiver in self.evaluate(node.func.value, scope):
                if receiver.startswith("service:") and node.func.attr == "get_paginator":
                    pages = [text.removeprefix("text:") for text in self.evaluate(node.args[0], scope)]
                    values |= {f"pages:{receiver.removeprefix('service:')}:{operation}" for operation in pages}
                if receiver == f"class:{SETTINGS}":
                    return self._setting(node, scope)
        for called in self.evaluate(node.func, scope):
            kind, _, what = called.partition(":")
            found = self.definition(what)
            if kind == "type":
                values |= {f"class:{what}"}
            elif kind == "function" and found is not None and isinstance(found[1], ast.FunctionDef):
                values |= self.annotated(found[0], found[1].returns)
        return values

    def _setting(self, node: ast.Call, scope: Scope) -> Values:
        """``queue_url(queue)``, ``dead_letter_url(queue)``, ``need(name)`` of the settings."""
        asked = self.evaluate(node.args[0], scope) if node.args else NOTHING
        endings = {"queue_url": "_queue_url", "dead_letter_url": "_dlq_url", "need": ""}
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name not in endings or not asked:
            raise UnreadableCode(f"{scope.module}:{node.lineno}: which setting is {ast.unparse(node)}?")
        return frozenset(f"setting:{value.partition(':')[2]}{endings[name]}" for value in asked)


def _split(full: str, cut: int) -> tuple[str, str, str]:
    parts = full.split(".")
    return ".".join(parts[:-cut]), ".", ".".join(parts[-cut:])


def _constant(node: ast.AST) -> Values:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            return frozenset({f"bool:{node.value}"})
        if isinstance(node.value, str):
            return frozenset({f"text:{node.value}"})
    return NOTHING


def _is_property(function: ast.AST) -> bool:
    decorators = function.decorator_list if isinstance(function, ast.FunctionDef) else []
    return any(isinstance(decorator, ast.Name) and decorator.id in ("property", "cached_property") for decorator in decorators)


def _functions_of(module: str, name: str, top: ast.AST | str) -> Iterator[tuple[str, ast.FunctionDef]]:
    """(class or empty, function) of one name of a module."""
    if isinstance(top, ast.FunctionDef):
        yield "", top
    elif isinstance(top, ast.ClassDef):
        for statement in top.body:
            if isinstance(statement, ast.FunctionDef):
                yield f"{module}.{name}", statement


class _Walk:
    """One function's reachable code: every definition is entered once for each binding of what matters."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._seen: set[tuple[str, str, tuple[tuple[str, Values], ...]]] = set()
        self.calls: dict[Call, str] = {}

    def enter(self, full: str, given: Mapping[str, Values], road: tuple[str, ...], owner: str = "") -> None:
        found = self._code.definition(full)
        if found is None:
            return
        module, definition = found
        if module == PORTS and not _is_property(definition):
            raise UnreadableCode(f"{' > '.join(road)}: what stands behind {full}?")
        if module.startswith("crossdock.domain."):
            return  # reaches nothing outside, which the import rules hold; what it is handed counts where it is handed over
        key = (full, owner, tuple(sorted(given.items())))
        if key in self._seen:
            return
        self._seen.add(key)
        here = (*road, full.removeprefix("crossdock.").removeprefix("functions."))
        bound = self._code.bindings(module, owner, definition, given)
        _Body(self, self._code, Scope(module, owner, bound), here).visit_inside(definition)

    def record(self, service: str, operation: str, settings: set[str], where: str, road: tuple[str, ...]) -> None:
        settings = {setting for setting in settings if setting.removesuffix("/index").endswith(_KINDS[service])}
        if not settings:
            raise UnreadableCode(f"{where}: on which resource does {service}.{operation} work?")
        name = "".join(part.title() for part in operation.removesuffix("_batch" if service == "sqs" else "").split("_"))
        for setting in settings:
            self.calls.setdefault(Call(f"{_SERVICES[service]}:{name}", setting), " > ".join(road))


class _Body:
    """What one definition refers to."""

    def __init__(self, walk: _Walk, code: Code, scope: Scope, road: tuple[str, ...]) -> None:
        self._walk, self._code, self._scope, self._road = walk, code, scope, road

    def visit_inside(self, definition: ast.AST) -> None:
        if isinstance(definition, ast.FunctionDef):
            self._index = any(isinstance(node, ast.Constant) and node.value == "IndexName" for node in ast.walk(definition))
            for statement in [*definition.body, *definition.decorator_list]:
                self._visit(statement)
        else:
            self._index = False
            self._visit(definition)

    def _truth(self, node: ast.expr) -> bool | None:
        """Whether a test is decided by what is known here."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self._truth(node.operand)
            return None if inner is None else not inner
        if isinstance(node, ast.BoolOp):
            parts = [self._truth(part) for part in node.values]
            decisive = isinstance(node.op, ast.Or)
            if decisive in parts:
                return decisive
            return None if None in parts else not decisive
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
            left, right = (self._code.evaluate(side, self._scope) for side in (node.left, node.comparators[0]))
            if len(left) == len(right) == 1 and all(value.startswith("queue:") for value in left | right):
                return (left == right) is isinstance(node.ops[0], ast.Is | ast.Eq)
        if isinstance(node, ast.Name):
            known = self._scope.bound.get(node.id, NOTHING)
            if known in (frozenset({"bool:True"}), frozenset({"bool:False"})):
                return known == frozenset({"bool:True"})
        return None

    def _visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.If | ast.IfExp):
            truth = self._truth(node.test)
            self._visit(node.test)
            for taken, branch in ((True, node.body), (False, node.orelse)):
                if truth is not (not taken):
                    for each in branch if isinstance(branch, list) else [branch]:
                        self._visit(each)
            return
        if isinstance(node, ast.BoolOp):
            for part in node.values:
                self._visit(part)
                if self._truth(part) is isinstance(node.op, ast.Or):
                    return
            return
        if isinstance(node, ast.Call):
            self._call(node)
            return
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            self._refer(node, None)
        if isinstance(node, ast.Dict):
            self._transacted(node)
        if isinstance(node, ast.arg):
            return
        for child in ast.iter_child_nodes(node):
            if not (isinstance(node, ast.FunctionDef) and child is node.returns) and not (isinstance(node, ast.AnnAssign) and child is node.annotation):
                self._visit(child)

    def _call(self, node: ast.Call) -> None:
        values = self._code.evaluate(node.func, self._scope)
        makes = any(value.startswith("type:") for value in values)
        if not values and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Attribute) and node.func.value.attr in self._code.ports:
            raise UnreadableCode(f"{self._scope.module}:{node.lineno}: what is {ast.unparse(node.func)}?")
        self._refer(node.func, node)
        if isinstance(node.func, ast.Attribute):
            self._visit(node.func.value)
        elif not isinstance(node.func, ast.Name):
            self._visit(node.func)
        for argument in node.args:
            self._visit(argument)
        for keyword in node.keywords:
            if not (makes and isinstance(keyword.value, ast.Lambda)):  # kept in the object: it counts where the field is used
                self._visit(keyword.value)

    def _arguments(self, full: str, call: ast.Call | None) -> dict[str, Values]:
        """What is known of the arguments, by parameter. Texts count inside the adapters only, where they may name an operation."""
        found = self._code.definition(full)
        if call is None or found is None or not isinstance(found[1], ast.FunctionDef):
            return {}
        names = [parameter.arg for parameter in (*found[1].args.posonlyargs, *found[1].args.args)]
        if names[:1] == ["self"]:
            names = names[1:]
        pairs = [*zip(names, call.args, strict=False), *((keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg)]
        known = {}
        for name, value in pairs:
            values = self._code.evaluate(value, self._scope)
            values = frozenset(each for each in values if found[0].startswith("crossdock.aws.") or not each.startswith("text:"))
            if values:
                known[name] = values
            elif _constant_default(found[1], name):
                known[name] = NOTHING  # passed, and not known: the default says nothing here
        return known

    def _refer(self, node: ast.expr, call: ast.Call | None) -> None:
        if call is not None:
            self._operation(node, call)
        for value in self._code.evaluate(node, self._scope):
            kind, _, what = value.partition(":")
            if kind == "function":
                self._walk.enter(what, self._arguments(what, call), self._road, owner=self._owner(node, what))
            elif kind == "type" and call is not None and self._code.method(what, "__init__"):
                self._walk.enter(f"{what}.__init__", self._arguments(f"{what}.__init__", call), self._road, owner=what)
        if isinstance(node, ast.Attribute):
            for value in self._code.evaluate(node.value, self._scope):
                if value.startswith("class:"):
                    self._field_or_property(value.removeprefix("class:"), node.attr)

    def _owner(self, node: ast.expr, full: str) -> str:
        """The class whose method it is: the one it was found on, which may have inherited it."""
        cls, _, name = full.rpartition(".")
        if isinstance(node, ast.Attribute):
            for value in self._code.evaluate(node.value, self._scope):
                for candidate in self._code.implementers(value.partition(":")[2]) if value.startswith("class:") else []:
                    if self._code.method(candidate, name) == full:
                        return candidate
        found = self._code.definition(cls)
        return cls if found is not None and isinstance(found[1], ast.ClassDef) else ""

    def _field_or_property(self, cls: str, name: str) -> None:
        method = self._code.method(cls, name)
        if method is not None:
            definition = self._code.definition(method)
            if definition is not None and isinstance(definition[1], ast.FunctionDef) and _is_property(definition[1]):
                self._walk.enter(method, {}, self._road, owner=cls)
            return
        for expression, scope in self._code.given(cls, name):
            if isinstance(expression, ast.Lambda):
                bound = self._code.bindings(scope.module, scope.owner, expression, scope.bound)
                _Body(self._walk, self._code, Scope(scope.module, scope.owner, bound), (*self._road, f"{cls.rpartition('.')[2]}.{name}")).visit_inside(expression.body)

    def _operation(self, node: ast.expr, call: ast.Call) -> None:
        where = f"{self._scope.module}:{call.lineno}"
        asked: list[tuple[str, str]] = []
        if isinstance(node, ast.Attribute):
            for value in self._code.evaluate(node.value, self._scope):
                kind, _, what = value.partition(":")
                if kind == "service" and node.attr not in ("get_paginator", "transact_write_items"):
                    asked.append((what, node.attr))
                elif kind == "pages":
                    service, _, operation = what.partition(":")
                    asked.append((service, operation))
        elif isinstance(node, ast.Call):
            for value in self._code.evaluate(node, self._scope):
                if value.startswith("operation:"):
                    _, service, operation = value.split(":")
                    asked.append((service, operation))
        for service, operation in asked:
            settings = self._settings(call)
            if self._index and operation == "query":
                settings = {f"{setting}/index" for setting in settings}
            self._walk.record(service, operation, settings, where, self._road)

    def _settings(self, call: ast.Call) -> set[str]:
        url = next((keyword.value for keyword in call.keywords if keyword.arg == "QueueUrl"), None)
        if url is not None:
            return {value.removeprefix("setting:") for value in self._code.evaluate(url, self._scope) if value.startswith("setting:")}
        return self._code.resources_of(self._scope.owner)

    def _transacted(self, node: ast.Dict) -> None:
        """One action of a transaction: {"Put": {...}}."""
        if self._scope.module.startswith("crossdock.aws.") and len(node.keys) == 1 and isinstance(node.keys[0], ast.Constant) and node.keys[0].value in _TRANSACTED:
            action = _TRANSACTED[str(node.keys[0].value)]
            for setting in self._code.resources_of(self._scope.owner):
                self._walk.calls.setdefault(Call(f"dynamodb:{action}", setting), " > ".join(self._road))


def _constant_default(function: ast.FunctionDef, name: str) -> bool:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs = [*zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return any(parameter.arg == name and value is not None and bool(_constant(value)) for parameter, value in pairs)
