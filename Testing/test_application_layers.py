"""Who may know the Slicer application, and how the files that know it must be written."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "SAM2Medical3D" / "SAM2Medical3DLib"
SHIPPED = {"slicer", "vtk", "numpy", "scipy", "SimpleITK", "requests", "PIL", "packaging"}


def _imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _applications() -> list[Path]:
    return sorted((LIBRARY / "application").glob("*.py"))


def test_only_the_application_layer_knows_the_application() -> None:
    """MRML classes are for everyone under mrml/; Qt and the running Slicer for application/."""
    tied = {"app", "util", "modules", "mrmlScene", "i18n", "packaging", "cli",
            "ScriptedLoadableModule", "parameterNodeWrapper"}  # fmt: skip
    for file in LIBRARY.rglob("*.py"):
        if LIBRARY / "application" in file.parents:
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for name in _imports(tree):
            top, _, rest = name.partition(".")
            assert top not in {"qt", "ctk", "PythonQt", "SampleData", "PyTorchUtils"}, file
            assert top != "slicer" or rest.partition(".")[0] not in tied, file
            assert "application" not in name, file
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert node.value.id != "slicer" or node.attr not in tied, (file, node.lineno)


@pytest.mark.parametrize("file", _applications(), ids=lambda file: file.stem)
def test_application_files_run_nothing_when_imported(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    known = SHIPPED | {"qt", "ctk", "SampleData"} | sys.stdlib_module_names
    at_file_scope = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    imported = _imports(ast.Module(at_file_scope, []))
    assert {name.partition(".")[0] for name in imported} <= known
    for node in tree.body[1:]:
        assert isinstance(
            node,
            ast.Import | ast.ImportFrom | ast.ClassDef | ast.FunctionDef | ast.Assign
            | ast.AnnAssign | ast.If,
        )  # fmt: skip
        if isinstance(node, ast.If):
            assert ast.unparse(node.test) == "TYPE_CHECKING"


@pytest.mark.parametrize("file", _applications(), ids=lambda file: file.stem)
def test_translators_find_every_string(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "_":
            (text,) = node.args
            assert isinstance(text, ast.Constant), (file, node.lineno)
