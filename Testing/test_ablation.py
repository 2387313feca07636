"""The ablation command: its variants, and one table out of a whole run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.training import ablation
from SAM2Medical3DLib.training.recipe import Recipe
from SAM2Medical3DLib.training.variants import variants_of, with_steps

RECIPES = Path(ablation.__file__).with_name("recipes")

TINY = """
seed = 1
method = "{method}"
output = "tiny"

[architecture]
image_size = 64
embed_dim = 8
stages = [1, 1, 2, 1]
global_blocks = [3]
model_dim = 32
memory_dim = 16
memory_layers = 1
feedforward_dim = 32
boundary_dim = {width}

[[stages]]
name = "s"
steps = 2
image_size = 64
length = 2
batch = 2
prompts = {{ {prompts} }}
"""


def test_the_variants_of_sam2_3dmed() -> None:
    recipe = Recipe.read(RECIPES / "sam2-3dmed-ablation.toml")
    variants = {v.name: v for v in variants_of(recipe, [1], [3, 6, 12])}
    assert sorted(variants) == [
        "bd-d6-seed1", "none-d6-seed1", "srpp+bd-d12-seed1", "srpp+bd-d3-seed1",
        "srpp+bd-d6-seed1", "srpp-d6-seed1",
    ]  # fmt: skip
    parts = {n: (v.recipe.heads.srpp, v.recipe.heads.bd) for n, v in variants.items()}
    assert parts["none-d6-seed1"] == (0, 0)
    assert parts["srpp-d6-seed1"] == (0.01, 0)
    assert parts["bd-d6-seed1"] == (0, 0.1)
    assert parts["srpp+bd-d6-seed1"] == (0.01, 0.1)
    widths = {n: v.recipe.architecture.boundary_dim for n, v in variants.items()}
    assert [n for n, width in widths.items() if not width] == ["none-d6-seed1", "srpp-d6-seed1"]
    slices = {v.recipe.stages[0].length * v.recipe.stages[0].batch for v in variants.values()}
    assert slices == {24}  # every variant sees as many slices a step
    # The encoder's neck is trained, or SRPP could not matter.
    assert recipe.initial.frozen == ("image_encoder.trunk.",)


def test_the_variants_of_radsam_and_the_number_of_steps() -> None:
    recipe = with_steps(Recipe.read(RECIPES / "radsam-ablation.toml"), 50)
    assert recipe.steps == 50
    variants = variants_of(recipe, [1, 2, 3], [])
    assert len(variants) == 6
    assert {v.recipe.seed for v in variants} == {1, 2, 3}
    for v in variants:
        shown = "noisy-mask" in v.recipe.stages[0].prompts
        assert shown == v.name.startswith("noisy-masks") == (v.traits["noisy masks"] == "yes")
    staged = with_steps(Recipe.read(RECIPES / "bundled.toml"), 61)
    assert staged.steps == 61
    with pytest.raises(UserError, match="has no ablation"):
        variants_of(staged, [1], [])
    with pytest.raises(UserError, match="too few"):
        with_steps(staged, 2)


def test_one_table_comes_out_and_an_interrupted_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = _balls(tmp_path / "Task99_Balls"), tmp_path / "out"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(TINY.format(method="sam2-3dmed", width=8, prompts="mask = 1.0"))
    command = ["--method", "sam2-3dmed", "--recipe", str(recipe), "--out", str(out),
               "--data", str(folder), "--lengths", "3", "--device", "cpu", "--workers", "0",
               "--precision", "no", "--only", "none", "srpp+bd"]  # fmt: skip

    class Interrupted(Exception):
        pass

    whole = ablation.measure

    def interrupt(*_: object) -> None:
        raise Interrupted

    monkeypatch.setattr(ablation, "measure", interrupt)
    with pytest.raises(Interrupted):
        ablation.main(command)
    trained = {p: p.stat().st_mtime_ns for p in out.glob("*/*.safetensors")}
    assert sorted(p.stem for p in trained) == [
        "none-d2-seed1", "srpp+bd-d2-seed1", "srpp+bd-d3-seed1",
    ]  # fmt: skip
    monkeypatch.setattr(ablation, "measure", whole)
    assert ablation.main(command) == 0, capsys.readouterr().err
    assert trained == {p: p.stat().st_mtime_ns for p in out.glob("*/*.safetensors")}
    lines = (out / "ablation.md").read_text().splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines if "|" in line]
    assert cells[0] == ["set", "SRPP", "BD", "D", "seed", "objects", "Dice", "IoU", "HD95 (mm)",
                        "NSD"]  # fmt: skip
    variants = [row[1:5] for row in cells[2:] if row[4]]
    assert variants == [
        ["–", "–", "2", "1"], ["yes", "yes", "2", "1"], ["yes", "yes", "3", "1"],
    ]  # fmt: skip
    copy = next(row for row in cells if row[0].endswith(": copy"))
    assert 0.5 < float(copy[6]) < 1
    held_out = json.loads((out / "split.json").read_text())
    assert len(str(held_out)) > 0
    assert {row[5] for row in cells[2:]} == {"1"}  # a fifth of the five cases is held out
    shown = capsys.readouterr().out
    assert "| Dice |" in shown


def test_seeds_are_summarised(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder, out = _balls(tmp_path / "Task99_Balls"), tmp_path / "out"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(TINY.format(method="radsam", width=0, prompts="noisy-mask = 0.5, box = 0.5"))
    command = ["--method", "radsam", "--recipe", str(recipe), "--out", str(out), "--steps", "1",
               "--data", str(folder), "--seeds", "1", "2", "--device", "cpu", "--workers", "0",
               "--precision", "no"]  # fmt: skip
    assert ablation.main(command) == 0, capsys.readouterr().err
    text = (out / "ablation.md").read_text()
    assert text.count("mean of 2") == 2
    assert text.count("±") == 8
    capsys.readouterr()


def test_mistakes_are_named_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(TINY.format(method="radsam", width=0, prompts="box = 1.0"))
    out = ["--out", str(tmp_path / "out")]
    cases = (
        ["--method", "sam2-3dmed", "--recipe", str(recipe)],
        ["--method", "radsam", "--only", "nonsense"],
        ["--method", "radsam", "--cases", str(tmp_path / "nowhere")],
        ["--method", "radsam", "--data", str(tmp_path / "nowhere")],
    )
    for words in cases:
        assert ablation.main([*words, *out]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert "Traceback" not in said


def _balls(folder: Path, cases: int = 5) -> Path:
    """Balls in noise, in the layout of the Medical Segmentation Decathlon."""
    rng = np.random.default_rng(0)
    z, y, x = np.mgrid[:12, :40, :40]
    names = [f"ball_{n:03}" for n in range(cases)]
    for n, name in enumerate(names):
        label = (np.sqrt((z - 6) ** 2 * 2 + (y - 18 - n) ** 2 + (x - 20) ** 2) < 8).astype(np.uint8)
        image = (100 * label + rng.normal(0, 20, label.shape)).astype(np.int16)
        for part, array in (("imagesTr", image), ("labelsTr", label)):
            path = folder / part / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    training = [
        {"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in names
    ]
    (folder / "dataset.json").write_text(
        json.dumps(
            {
                "name": "Balls",
                "modality": {"0": "CT"},
                "labels": {"0": "background", "1": "ball"},
                "training": training,
                "test": [],
                "numTraining": cases,
            }
        )  # fmt: skip
    )
    return folder
