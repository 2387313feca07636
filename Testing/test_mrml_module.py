"""The scripted module and the extension's files, as far as they can be checked without Slicer."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
MODULE = ROOT / "SAM2Medical3D" / "SAM2Medical3D.py"
SLICERS_OWN = {"slicer", "vtk", "qt", "ctk", "numpy"}


@pytest.fixture(scope="module")
def tree() -> ast.Module:
    return ast.parse(MODULE.read_text(encoding="utf-8"))


def test_nothing_runs_and_nothing_foreign_is_imported_at_file_scope(tree: ast.Module) -> None:
    imported = set()
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            imported.add(statement.module.partition(".")[0])
        else:
            is_docstring = statement is tree.body[0] and isinstance(statement, ast.Expr)
            assert is_docstring or isinstance(statement, ast.ClassDef | ast.FunctionDef)
    assert imported <= SLICERS_OWN | sys.stdlib_module_names


def test_library_imports_torch_and_qt_nowhere_below_the_panel() -> None:
    for file in (ROOT / "SAM2Medical3D" / "SAM2Medical3DLib" / "mrml").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            assert not {name.partition(".")[0] for name in names} & {"torch", "sam2", "qt", "ctk"}


def test_panel_and_parameter_node_agree(tree: ast.Module) -> None:
    (parameters,) = (
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name.endswith("ParameterNode")
    )
    fields = {n.target.id for n in parameters.body if isinstance(n, ast.AnnAssign)}
    panel = ElementTree.parse(ROOT / "SAM2Medical3D" / "Resources" / "UI" / "SAM2Medical3D.ui")
    bound = [
        found.findtext("string")
        for found in panel.iter("property")
        if found.get("name") == "SlicerParameterName"
    ]
    # The others have lists that the panel fills by itself.
    assert sorted(bound) == sorted(fields - {"segment", "model", "config", "imageSize"})
    widgets = {widget.get("name") for widget in panel.iter("widget")}
    used = set()
    for file in (ROOT / "SAM2Medical3D" / "SAM2Medical3DLib" / "application").glob("*.py"):
        used |= set(re.findall(r"\bui\.(\w+)", file.read_text(encoding="utf-8")))
    assert used <= widgets
    combos = {w.get("name") for w in panel.iter("widget") if w.get("class") == "qMRMLNodeComboBox"}
    assert combos <= {found.findtext("receiver") for found in panel.iter("connection")}


def test_every_button_has_a_tool_tip() -> None:
    panel = ElementTree.parse(ROOT / "SAM2Medical3D" / "Resources" / "UI" / "SAM2Medical3D.ui")
    for widget in panel.iter("widget"):
        if widget.get("class") in {"QPushButton", "QToolButton", "QComboBox", "QCheckBox"}:
            properties = {found.get("name") for found in widget.findall("property")}
            assert "toolTip" in properties, widget.get("name")


def test_the_panel_offers_methods_that_exist(tree: ast.Module) -> None:
    from SAM2Medical3DLib.models.registry import model_info
    from SAM2Medical3DLib.propagation.registry import METHODS

    (offered,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Method")
    names = [n.value.value for n in offered.body if isinstance(n, ast.Assign)]
    assert names == list(METHODS)
    for name in names:
        assert model_info(METHODS[name].default_model).state == "bundled"


def test_index_entry_agrees_with_cmake() -> None:
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    said = dict(re.findall(r'set\(EXTENSION_(\w+)\s+"([^"]+)"\)', cmake))
    entry = json.loads((ROOT / "SAM2Medical3D.json").read_text(encoding="utf-8"))
    assert re.search(r"project\((\w+)", cmake).group(1) == "SAM2Medical3D"
    assert entry["scm_url"] == said["HOMEPAGE"]
    assert entry["category"] == said["CATEGORY"]
    assert entry["build_dependencies"] == said["DEPENDS"].split()
    assert said["DESCRIPTION"].endswith(".")
    allowed = {"$schema", "category", "scm_url", "scm_revision", "scm_type", "build_dependencies"}
    assert set(entry) <= allowed | {"build_subdirectory", "enabled", "tier", "dicom_support_rule"}
    in_repository = said["ICONURL"].partition("/main/")[2]
    with Image.open(ROOT / in_repository) as icon:
        assert icon.size == (128, 128)


def _stubbed(slicer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the application adds to the slicer package, as far as module and logic need it."""

    def stub(name: str, **members: object) -> None:
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)

    def wrapper(cls: type) -> type:
        names = cls.__annotations__
        values = {name: getattr(cls, name, None) for name in names}
        cls.__init__ = lambda self, _node=None: vars(self).update(values)
        return cls

    class Logic:
        def getParameterNode(self) -> None:
            return None

    scene, logic = slicer.vtkMRMLScene(), slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(scene)
    modules = SimpleNamespace(segmentations=SimpleNamespace(logic=lambda: logic))
    monkeypatch.setattr(slicer, "mrmlScene", scene, raising=False)
    monkeypatch.setattr(slicer, "modules", modules, raising=False)
    stub("slicer.i18n", tr=lambda text: text, translate=lambda _context, text: text)
    stub("slicer.parameterNodeWrapper", parameterNodeWrapper=wrapper)
    stub(
        "slicer.ScriptedLoadableModule",
        ScriptedLoadableModule=type("Module", (), {}),
        ScriptedLoadableModuleWidget=type("Widget", (), {}),
        ScriptedLoadableModuleLogic=Logic,
        ScriptedLoadableModuleTest=unittest.TestCase,
    )


def test_module_loads_and_its_own_tests_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    _stubbed(slicer, monkeypatch)
    spec = importlib.util.spec_from_file_location("SAM2Medical3D", MODULE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    labels = [choice.label() for choice in module.OtherSegments]
    assert labels == ["Allow overlap", "Overwrite visible segments", "Never touch"]
    monkeypatch.setitem(sys.modules, "SAM2Medical3D", module)
    from SAM2Medical3DLib.application import selftest

    case = module.SAM2Medical3DTest()
    case.setUp()
    selftest.run(case)
