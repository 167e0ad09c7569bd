"""Figures of the package's structure, measured on its source.

    python tests/quality/figures.py              this checkout
    python tests/quality/figures.py OLD NEW      two checkouts side by side

A checkout holds cli/chatpipe and tests. schema/accept.py is generated and left out everywhere.
Only `sources`, `read`, `lines_of_tests` and `main` do I/O. tests/test_layers.py guards the limits.
"""

from __future__ import annotations

import ast
import builtins
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeVar

# The limits, all of them. Each is the largest figure that passes.
FUNCTION_LINES = 40
PARAMETERS = 6
LONG_FUNCTIONS = 3  # functions above FUNCTION_LINES, each with a reason in test_layers.LONG
WIDE_FUNCTIONS = 4  # functions above PARAMETERS, each with a reason in test_layers.WIDE
FAN_OUT = 14
JOINED_PERCENT = 51
TEST_RATIO = 1.75  # reported only: no test fails because of it

# A docstring that begins with one of these is a relative clause. It does not name the thing.
CLAUSE_WORDS = ("What", "Whether", "How", "Who", "As", "Which", "Where", "When")

# Words in -ing that are true nouns, with the reason. Every other -ing name counts as a gerund.
NOUNS: dict[str, str] = {}

# A module of these folders may share its name with the one module that it leads to.
FRONT_FOLDERS = ("options", "flags", "commands")

GENERATED = "accept.py"

# They stand for modules of Python, and have nothing of the program: to import them joins no parts.
STAND_INS = frozenset({"named_tuple", "line_record"})

_WORLD_MODULES = {
    *("socket", "ssl", "select", "selectors", "subprocess", "signal", "time", "random", "shutil", "tempfile"),
    *("secrets", "fcntl", "asyncio", "threading", "multiprocessing", "datetime", "uuid", "urllib.request"),
}
# Parts of os and sys that leave the world alone.
_PURE = (
    *("os.path.split", "os.path.join", "os.path.basename", "os.path.dirname", "os.pathsep", "os.sep"),
    *("os.fsencode", "os.fsdecode", "os.PathLike", "os.strerror", "os.devnull", "sys.modules", "sys.version"),
)
# The exceptions in a docstring: `Raises BadInput, CannotWrite and what the callback raises`.
_RAISED = re.compile(r"\bRaises ((?:[A-Z]\w+(?:, and |, | and | or )?)+)")
_Node = TypeVar("_Node", bound=ast.AST)
_FILE_METHODS = ("read_bytes", "read_text", "write_bytes", "write_text", "touch", "unlink", "mkdir")


class Module(NamedTuple):
    """A source file.

    name is `request.build` for cli/chatpipe/request/build.py, `wire.__init__` for wire/__init__.py.
    """

    name: str
    lines: int
    tree: ast.Module

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def folder(self) -> str:
        """First part of the name. A root module is a folder of its own."""
        return self.name.partition(".")[0]

    @property
    def imported_as(self) -> str:
        """`chatpipe.request.build`, or `chatpipe.wire` for `wire.__init__`."""
        return f"chatpipe.{self.name}".removesuffix(".__init__")


class Function(NamedTuple):
    """A function, method or inner function, with its module and classes in the name: `wire.pool.Pool.close`.

    lines are those from `def` to the end of the body. Decorators do not count.
    """

    name: str
    lines: int
    parameters: int
    is_command: bool


class Docstring(NamedTuple):
    module: str
    line: int
    text: str


class Edge(NamedTuple):
    """One module imports another. Both names are those of `Module.name`."""

    source: str
    target: str


def sources(package: Path) -> list[Path]:
    return sorted(path for path in package.rglob("*.py") if path.name != GENERATED)


def name_of(path: Path, package: Path) -> str:
    """`request.build` for cli/chatpipe/request/build.py."""
    return ".".join(path.relative_to(package).with_suffix("").parts)


def read(root: Path) -> list[Module]:
    """The modules of the checkout at root. Raises OSError, UnicodeError and SyntaxError."""
    package = root / "cli" / "chatpipe"
    return [parsed(name_of(path, package), path.read_text(encoding="utf-8")) for path in sources(package)]


def parsed(name: str, source: str) -> Module:
    return Module(name, len(source.splitlines()), ast.parse(source))


def nodes(tree: ast.AST, kind: type[_Node]) -> list[_Node]:
    """All nodes of this kind, in the order of `ast.walk`."""
    return _nodes_by_kind(tree).get(kind, [])


@cache  # to walk the trees took longer than to parse them, and nearly every rule needs it
def _nodes_by_kind(tree: ast.AST) -> dict[type, list[Any]]:
    found = defaultdict(list)
    for node in ast.walk(tree):
        found[type(node)].append(node)
    return found


def lines_of_tests(root: Path) -> int:
    """Lines of every .py file below tests/, helpers, benchmarks and soak tests included."""
    paths = (root / "tests").rglob("*.py")
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def counted(modules: Iterable[Module]) -> list[Module]:
    """The modules that count as such: all but the `__init__.py` of inner folders, which hold no code."""
    return [module for module in modules if module.stem != "__init__" or module.name == "__init__"]


def functions(module: Module) -> list[Function]:
    return list(_functions(module.tree, module.name))


def _functions(node: ast.AST, scope: str) -> Iterator[Function]:
    for child in _statements(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert child.end_lineno is not None
            lines = child.end_lineno - child.lineno + 1
            name = f"{scope}.{child.name}"
            yield Function(name, lines, parameters(child.args), _is_command(child))
            yield from _functions(child, name)
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{scope}.{child.name}")
        else:
            yield from _functions(child, scope)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node that may hold a definition or an import. Expressions may not, and are most."""
    return (child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr))


def parameters(arguments: ast.arguments) -> int:
    """The named parameters of any kind. A leading self or cls, *args and **kwargs do not count."""
    positional = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    is_method = positional[:1] in (["self"], ["cls"])
    return len(positional) - is_method + len(arguments.kwonlyargs)


def _is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True for @click.command, @group.command(...), @click.group() and their like."""
    calls = (each.func if isinstance(each, ast.Call) else each for each in function.decorator_list)
    return any(ast.unparse(call).rpartition(".")[2] in ("command", "group") for call in calls)


def docstrings(module: Module) -> list[Docstring]:
    """The docstrings of the module and of its classes and functions at any depth."""
    documented: list[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef] = [
        module.tree,
        *nodes(module.tree, ast.ClassDef),
        *nodes(module.tree, ast.FunctionDef),
        *nodes(module.tree, ast.AsyncFunctionDef),
    ]
    return [
        Docstring(module.name, node.body[0].lineno, text)
        for node in documented
        if (text := ast.get_docstring(node))
    ]


def missing_exceptions(modules: Sequence[Module]) -> list[str]:
    """The names behind `Raises` in docstrings that are neither defined nor imported anywhere."""
    known = set(vars(builtins))
    for module in modules:
        known.update(classes(module))
        for alias in nodes(module.tree, ast.alias):
            known.add((alias.asname or alias.name).rpartition(".")[2])
    return [
        f"{each.module}:{each.line}: {name}"
        for module in modules
        for each in docstrings(module)
        for names in _RAISED.findall(each.text)
        for name in re.findall(r"\w+", names)
        if name[0].isupper() and name not in known
    ]


def is_clause(text: str, words: Sequence[str] = CLAUSE_WORDS) -> bool:
    """True if the first word of a docstring is one of words, in capitals or not."""
    first = re.match(r"\w+", text)
    return first is not None and first[0].lower() in {word.lower() for word in words}


def classes(module: Module) -> list[str]:
    """Names of all classes, inner ones too, in the order of `ast.walk`."""
    return [node.name for node in nodes(module.tree, ast.ClassDef)]


def last_word(name: str) -> str:
    """`input` for MissingInput and missing_input."""
    words = re.findall(r"[A-Z]*[a-z0-9]+|[A-Z]+", name)
    return words[-1].lower() if words else ""


def is_gerund(name: str) -> bool:
    """True if the last word of a module or class name ends in -ing and is not one of NOUNS."""
    word = last_word(name)
    return word.endswith("ing") and word not in NOUNS


def gerund_modules(modules: Iterable[Module]) -> list[str]:
    """Full names. For an `__init__.py` the name of its folder counts."""
    return [module.name for module in modules if is_gerund(module.imported_as.rpartition(".")[2])]


def gerund_classes(modules: Iterable[Module]) -> list[str]:
    """Full names."""
    return [f"{module.name}.{name}" for module in modules for name in classes(module) if is_gerund(name)]


def class_homonyms(modules: Iterable[Module]) -> dict[str, list[str]]:
    """Class name -> the modules of its definitions, where there are two or more.

    A leading underscore does not make another name: `_Places` and `Places` are homonyms.
    """
    places = defaultdict(list)
    for module in modules:
        for name in classes(module):
            places[name.lstrip("_")].append(module.name)
    return {name: found for name, found in places.items() if len(found) > 1}


def function_homonyms(modules: Iterable[Module]) -> dict[str, list[str]]:
    """The name of a public function -> the modules of its definitions, where there are two or more.

    Methods do not count: their class tells them apart. A function in commands/ has the name of its command,
    and `main` is where a program begins.
    """
    places = defaultdict(list)
    for module in modules:
        if module.name.partition(".")[0] == "commands":
            continue
        for node in module.tree.body:
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if not node.name.startswith("_") and node.name != "main":
                places[node.name].append(module.name)
    return {name: found for name, found in places.items() if len(found) > 1}


def file_homonyms(modules: Iterable[Module]) -> dict[str, list[str]]:
    """File name -> the modules that have it, where there are two or more. `__init__` does not count."""
    places = defaultdict(list)
    for module in modules:
        if module.stem != "__init__":
            places[module.stem].append(module.name)
    return {stem: found for stem, found in places.items() if len(found) > 1}


def forbidden_homonyms(modules: Iterable[Module]) -> dict[str, list[str]]:
    """The file homonyms that FRONT_FOLDERS do not explain.

    Allowed is a name that each front folder has at most once and all other folders together at most once.
    """
    return {stem: found for stem, found in file_homonyms(modules).items() if not _may_share(found)}


def _may_share(names: Iterable[str]) -> bool:
    folders = (name.partition(".")[0] for name in names)
    fronts = Counter(folder if folder in FRONT_FOLDERS else "" for folder in folders)
    return max(fronts.values()) == 1


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules of every import statement, in the order of the lines; `from a import b` gives a and a.b."""
    statements: list[ast.Import | ast.ImportFrom]
    statements = [*nodes(tree, ast.Import), *nodes(tree, ast.ImportFrom)]
    for node in sorted(statements, key=lambda node: node.lineno):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(tree: ast.AST) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Every import statement, with True if it stands inside a function."""
    return _imports(tree, is_late=False)


def _imports(node: ast.AST, *, is_late: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in _statements(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, is_late
        else:
            is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            yield from _imports(child, is_late=is_late or is_function)


def edges(modules: Sequence[Module], *, late: bool = True) -> set[Edge]:
    """The imports between modules, those under TYPE_CHECKING included, each pair of modules once.

    `from chatpipe.wire import keys` leads to `wire.keys` if there is such a module, else to
    `wire.__init__`. With late False, imports inside functions are left out, STAND_INS are always left out.
    """
    names = {module.imported_as: module.name for module in modules}
    found = set()
    for module in modules:
        for statement, is_late in imports(module.tree):
            if late or not is_late:
                found |= {Edge(module.name, names[each]) for each in _targets(statement, names)}
    return {edge for edge in found if edge.source != edge.target and edge.target not in STAND_INS}


def _targets(statement: ast.Import | ast.ImportFrom, names: Container[str]) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        targets = [alias.name for alias in statement.names]
    else:
        whole = statement.module or ""
        inner = [f"{whole}.{alias.name}" for alias in statement.names]
        targets = [each if each in names else whole for each in inner]
    yield from (each for each in targets if each in names)


def fan_outs(modules: Sequence[Module], *, late: bool = True) -> dict[str, list[str]]:
    """Module -> the distinct modules of the package that it imports, sorted. See `edges`."""
    found: dict[str, list[str]] = {module.name: [] for module in modules}
    for edge in sorted(edges(modules, late=late)):
        found[edge.source].append(edge.target)
    return found


def circle(modules: Sequence[Module]) -> list[str]:
    """The modules of one circle of imports, each imported by the next one; empty if there is no circle."""
    try:
        TopologicalSorter(fan_outs(modules)).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def folders(modules: Iterable[Module]) -> list[str]:
    """The folders, and each root module as a folder of its own, but `chatpipe/__init__.py` and STAND_INS."""
    return sorted({module.folder for module in modules} - {"__init__", *STAND_INS})


def joined_folders(modules: Sequence[Module]) -> dict[tuple[str, str], list[Edge]]:
    """Pair of folders -> the imports between them, in either direction. Pairs with the fewest come first."""
    pairs = defaultdict(list)
    for edge in sorted(edges(modules)):
        low, high = sorted(name.partition(".")[0] for name in edge)
        if low != high and "__init__" not in (low, high):
            pairs[low, high].append(edge)
    return dict(sorted(pairs.items(), key=lambda pair: len(pair[1])))


def joined_percent(modules: Sequence[Module]) -> float:
    return 100 * len(joined_folders(modules)) / _possible_pairs(modules)


def _possible_pairs(modules: Sequence[Module]) -> int:
    return math.comb(len(folders(modules)), 2)


def touched(tree: ast.AST) -> set[str]:
    """The parts of the world that a module uses: modules that it imports, `os`, `sys`, `environ`, `open`."""
    found = {module for module in imported(tree) if module in _WORLD_MODULES}
    for node in nodes(tree, ast.Attribute):
        text = ast.unparse(node)
        if text.startswith(("os.environ", "os.getenv")):
            found.add("environ")
        elif text.startswith(("os.", "sys.")) and text != "os.path" and not text.startswith(_PURE):
            found.add(text.partition(".")[0])
    if any(_opens(call.func) for call in nodes(tree, ast.Call)):
        found.add("open")
    return found


def _opens(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in ("open", "print", "input")
    return isinstance(function, ast.Attribute) and function.attr in _FILE_METHODS


class Figure(NamedTuple):
    title: str
    value: str
    limit: str = ""


def figures(modules: Sequence[Module], tested: int) -> list[Figure]:
    """The table. tested is the number of lines of the tests."""
    lines = sum(module.lines for module in modules)
    sizes = [(module.lines, module.name) for module in counted(modules)]
    small, large = sum(size < 50 for size, _ in sizes), sum(size > 300 for size, _ in sizes)
    every = [function for module in modules for function in functions(module)]
    lengths = [(each.lines, each.name) for each in every]
    widths = [(each.parameters, each.name) for each in every]
    texts = [docstring.text for module in modules for docstring in docstrings(module)]
    late = [is_late for module in modules for _, is_late in imports(module.tree)]
    fan_out = [(len(found), name) for name, found in fan_outs(modules).items()]
    early = [(len(found), name) for name, found in fan_outs(modules, late=False).items()]
    joined, possible = len(joined_folders(modules)), _possible_pairs(modules)
    gerunds = f"{len(gerund_modules(modules))} + {len(gerund_classes(modules))}"
    return [
        Figure("lines", f"{lines}"),
        Figure("modules", f"{len(sizes)}"),
        Figure("median module", f"{median(size for size, _ in sizes):g}"),
        Figure("largest module", _largest(sizes)),
        Figure("modules below 50 / above 300 lines", f"{small} / {large}"),
        Figure("functions", f"{len(every)}"),
        Figure("median function", f"{median(size for size, _ in lengths):g}"),
        Figure("largest function", _largest(lengths)),
        Figure(
            f"functions above {FUNCTION_LINES} lines", _above(FUNCTION_LINES, lengths), f"{LONG_FUNCTIONS}"
        ),
        Figure("most parameters", _largest(widths)),
        Figure(f"functions above {PARAMETERS} parameters", _above(PARAMETERS, widths), f"{WIDE_FUNCTIONS}"),
        Figure("largest fan-out", _largest(fan_out), f"{FAN_OUT}"),
        Figure(f"modules with a fan-out above {FAN_OUT}", _above(FAN_OUT, fan_out), "0"),
        Figure("largest fan-out outside functions", _largest(early)),
        Figure("modules in a circle of imports", f"{len(set(circle(modules)))}", "0"),
        Figure("imports inside functions", f"{sum(late)} of {len(late)}"),
        Figure(
            "folder pairs joined",
            f"{joined} of {possible} ({joined_percent(modules):.0f} %)",
            f"{JOINED_PERCENT} %",
        ),
        Figure("modules that touch the world", f"{sum(bool(touched(module.tree)) for module in modules)}"),
        Figure("files that share a name", f"{sum(map(len, file_homonyms(modules).values()))}"),
        Figure("those not allowed to", f"{sum(map(len, forbidden_homonyms(modules).values()))}", "0"),
        Figure("class names used more than once", f"{len(class_homonyms(modules))}", "0"),
        Figure("function names used more than once", f"{len(function_homonyms(modules))}", "0"),
        Figure("gerund names, modules + classes", gerunds, "0 + 0"),
        Figure("docstrings", f"{len(texts)}"),
        Figure("those that begin What/Whether/How/Who/As", f"{_clauses(texts, CLAUSE_WORDS[:5])}"),
        Figure("the same and Which/Where/When", f"{_clauses(texts, CLAUSE_WORDS)}", "0"),
        Figure("test lines per line of code", f"{tested / lines:.2f}", f"{TEST_RATIO}"),
    ]


def _largest(sizes: Sequence[tuple[int, str]]) -> str:
    size, name = max(sizes)
    return f"{size} ({name})"


def _above(limit: int, sizes: Sequence[tuple[int, str]]) -> str:
    return f"{sum(size > limit for size, _ in sizes)}"


def _clauses(texts: Iterable[str], words: Sequence[str]) -> int:
    return sum(is_clause(text, words) for text in texts)


def excess(modules: Iterable[Module]) -> list[str]:
    """A line for each function above FUNCTION_LINES or PARAMETERS, longest first."""
    every = [function for module in modules for function in functions(module)]
    above = [each for each in every if each.lines > FUNCTION_LINES or each.parameters > PARAMETERS]
    above.sort(key=lambda each: (-each.lines, -each.parameters))
    return [f"{each.lines:4} lines {each.parameters:3} parameters  {each.name}" for each in above]


def main(roots: Sequence[str]) -> None:
    trees = {root: read(Path(root)) for root in roots}
    columns = [figures(modules, lines_of_tests(Path(root))) for root, modules in trees.items()]
    lines = zip(*columns, strict=True)  # one line holds the same figure of every checkout
    rows = [(line[0].title, *(each.value for each in line), line[0].limit) for line in lines]
    rows.insert(0, ("", *roots, "limit"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for root, modules in trees.items():
        print(f"\n{root}: functions above {FUNCTION_LINES} lines or {PARAMETERS} parameters")
        print("\n".join(excess(modules)))


if __name__ == "__main__":
    main(sys.argv[1:] or [str(Path(__file__).parents[2])])
