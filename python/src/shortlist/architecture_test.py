"""The architecture as a test: who may import whom, how long a file may be, and what library code may not do.

A violation reads `<file>:<line>: <law>`. To change a law, change it here and say why in docs/adr/.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent
RECIPES = PACKAGE.parents[1] / "recipes"

# recipes, cli -> {training, evaluation, export} -> {losses -> models -> data, metrics} -> features -> schema -> errors.
# A package may import those named here and itself. `testing` serves tests alone, so it may see what they see.
FOUNDATION = {"data", "models", "losses", "metrics", "features", "schema", "errors"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "schema": {"errors"},
    "features": {"schema", "errors"},
    "data": {"features", "schema", "errors"},
    "metrics": {"schema", "errors"},
    "models": {"data", "features", "schema", "errors"},
    "losses": {"models", "data", "schema", "errors"},
    "training": FOUNDATION,
    "evaluation": FOUNDATION,
    "export": FOUNDATION | {"gen"},
    "client": {"gen", "errors"},
    "cli": FOUNDATION | {"training", "evaluation", "export", "client", "gen"},
    "recipes": FOUNDATION | {"training", "evaluation", "export"},
    "testing": FOUNDATION | {"training", "evaluation", "export", "client", "gen"},
}
# The client runs where nothing else of the factory is installed.
CLIENT_LIBRARIES = set(sys.stdlib_module_names) | {"grpc", "google"}

LONGEST_FILE = 500  # lines; a reader finds a concept by its file name
Violations = Iterator[tuple[int, str]]


def test_the_code_obeys_its_laws() -> None:
    found = violations(PACKAGE, RECIPES)
    assert not found, "\n" + "\n".join(found)


def violations(package: Path, recipes: Path) -> list[str]:
    """All violations in the package's and the recipes' files; generated code is nobody's style."""
    found = []
    for root, prefix in ((package, ""), (recipes, "recipes")):
        for path in sorted(root.rglob("*.py")):
            relative = path.relative_to(root)
            owner = prefix or (relative.parts[0] if len(relative.parts) > 1 else relative.stem)
            if owner == "gen" and not prefix:
                continue
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text, filename=str(path))
            where = Path(prefix or package.name) / relative
            is_test = path.name.endswith("_test.py") or path.name == "conftest.py"
            found += [f"{where}:{line}: {law}" for line, law in (*length(text), *swallowed_errors(tree))]
            if not is_test and owner != "__init__":
                found += [f"{where}:{line}: {law}" for check in CHECKS for line, law in check(owner, tree)]
    return found


def import_law(owner: str, tree: ast.Module) -> Violations:
    if owner not in MAY_IMPORT:
        yield 1, f"{owner} has no place in the import law: give it one in architecture_test.py"
        return
    for line, module in imports(tree):
        root, _, rest = module.partition(".")
        target = rest.partition(".")[0]
        if not root:
            yield line, "imports are absolute, so that the law can be read from them"
        elif root == "recipes" and owner != "recipes":
            yield line, f"{owner} must not import recipes: they are whole runs, imported by nobody"
        elif root == "shortlist" and target == "testing" and owner != "testing":
            yield line, f"{owner} must not import testing: it serves tests only"
        elif root == "shortlist" and target not in MAY_IMPORT[owner] | {owner, ""}:
            yield line, f"{owner} must not import {target}: it may import {', '.join(sorted(MAY_IMPORT[owner])) or 'nothing'}"


def client_is_light(owner: str, tree: ast.Module) -> Violations:
    if owner not in ("client", "errors"):
        return
    for line, module in imports(tree):
        if module.partition(".")[0] not in CLIENT_LIBRARIES | {"shortlist"}:
            yield line, f"the client must not import {module}: it installs with grpc and protobuf alone"


def no_pickle(owner: str, tree: ast.Module) -> Violations:
    for line, module in imports(tree):
        if module.partition(".")[0] in ("pickle", "cloudpickle", "dill", "joblib", "shelve"):
            yield line, f"{owner} must not import {module}: reading a pickle runs it; tables and checkpoints are safetensors"


def no_print(owner: str, tree: ast.Module) -> Violations:
    if owner in ("cli", "recipes", "testing"):  # recipes and test tools may be scripts
        return
    scripts = {id(node) for guard in tree.body if is_main_guard(guard) for node in ast.walk(guard)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print" and id(node) not in scripts:
            yield node.lineno, f"{owner} must not print: return it, log it, or print it in cli"


def swallowed_errors(tree: ast.Module) -> Violations:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and catches_all(node.type) and all(says_nothing(step) for step in node.body):
            yield node.lineno, "an error of any kind is swallowed: name the kind that is expected, and do something"


def length(text: str) -> Violations:
    lines = text.count("\n")
    if lines > LONGEST_FILE:
        yield lines, f"{lines} lines: a file has at most {LONGEST_FILE}, so split it by concept"


CHECKS: tuple[Callable[[str, ast.Module], Violations], ...] = (import_law, client_is_light, no_pickle, no_print)


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, dotted module) of every import, wherever it stands; relative ones begin with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            # `from shortlist import training` names the package in its list.
            yield from ((node.lineno, f"{module}.{alias.name}" if module == "shortlist" else module) for alias in node.names)


def is_main_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def catches_all(kind: ast.expr | None) -> bool:
    names = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(name is None or (isinstance(name, ast.Name) and name.id in ("Exception", "BaseException")) for name in names)


def says_nothing(step: ast.stmt) -> bool:
    return isinstance(step, ast.Pass | ast.Continue) or (isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant))


# Negative controls: a law that cannot fail is no law.
BROKEN = [
    ("metrics/auc.py", "from shortlist.models.popularity import Popularity", 1, "metrics must not import models"),
    ("models/x.py", "def f() -> None:\n    import shortlist.training.loop", 2, "models must not import training"),
    ("training/x.py", "from shortlist import export", 1, "training must not import export"),
    ("errors.py", "import shortlist.schema", 1, "errors must not import schema: it may import nothing"),
    ("data/x.py", "from shortlist.gen.shortlist.v1 import ranking_pb2", 1, "data must not import gen"),
    ("evaluation/x.py", "from shortlist.testing.logs import random_log", 1, "evaluation must not import testing"),
    ("evaluation/x.py", "from . import scorer", 1, "imports are absolute"),
    ("cli/x.py", "from recipes.demo import run", 1, "cli must not import recipes"),
    ("client/x.py", "import numpy as np", 1, "the client must not import numpy"),
    ("client/x.py", "from torch import nn", 1, "the client must not import torch"),
    ("client/x.py", "from shortlist.schema import Op", 1, "client must not import schema"),
    ("newcomer/x.py", "", 1, "newcomer has no place in the import law"),
    ("training/x.py", "import pickle", 1, "training must not import pickle"),
    ("data/x.py", "def f() -> None:\n    print('x')", 2, "data must not print"),
    ("data/x.py", "try:\n    f()\nexcept Exception:\n    pass", 3, "swallowed"),
    ("data/x_test.py", "try:\n    f()\nexcept (OSError, Exception):\n    ...", 3, "swallowed"),
    ("data/x.py", "try:\n    f()\nexcept:\n    'later'", 3, "swallowed"),
    ("data/x.py", "x = 1\n" * 501, 501, "501 lines: a file has at most 500"),
]


@pytest.mark.parametrize(("path", "source", "line", "law"), BROKEN)
def test_a_broken_law_is_found_with_its_file(path: str, source: str, line: int, law: str, tmp_path: Path) -> None:
    (found,) = violations(write(tmp_path, path, source), tmp_path / "recipes")
    assert found.startswith(f"shortlist/{path}:{line}: ")
    assert law in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("training/x.py", "import torch\nfrom shortlist.losses.pointwise import loss\nfrom shortlist.training import loop"),
        (
            "client/x.py",
            "import asyncio\nimport grpc\nfrom google.rpc import status_pb2\nfrom shortlist.gen.shortlist.v1 import errors_pb2",
        ),
        ("cli/x.py", "print('x')"),
        ("data/x.py", "if __name__ == '__main__':\n    print('x')"),
        ("metrics/auc_test.py", "import torch\nfrom shortlist.testing.logs import random_log"),
        ("gen/x.py", "import numpy\n" * 600),
        ("data/x.py", "try:\n    f()\nexcept KeyError:\n    pass"),
        ("data/x.py", "try:\n    f()\nexcept Exception as error:\n    raise ValueError from error"),
        ("data/x.py", "x = 1\n" * 500),
    ],
)
def test_lawful_code_passes(path: str, source: str, tmp_path: Path) -> None:
    assert violations(write(tmp_path, path, source), tmp_path / "recipes") == []


def write(folder: Path, path: str, source: str) -> Path:
    """A package with one file."""
    package = folder / "shortlist"
    (package / path).parent.mkdir(parents=True)
    (package / path).write_text(source)
    return package
