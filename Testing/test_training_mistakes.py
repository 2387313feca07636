"""What can go wrong with a training run, through the command line: a sentence, and nothing lost."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from SAM2Medical3DLib.datasets import open_dataset
from SAM2Medical3DLib.training import trainer as trainer_module
from SAM2Medical3DLib.training.__main__ import main
from SAM2Medical3DLib.training.clips import ClipSampler
from SAM2Medical3DLib.training.sources import CaseSources

RECIPE = """\
seed = 1
method = "radsam"
output = "balls"
[architecture]
image_size = 64
embed_dim = 16
model_dim = 32
[optimiser]
learning_rate = 1e-2
[validation]
every = 0
[[stages]]
name = "slices"
steps = 4
image_size = 64
length = 3
batch = 4
prompts = { noisy-mask = 0.5, box = 0.5 }
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def run(recipe: Path, out: Path, *options: str) -> int:
    common = ["--out", str(out), "--device", "cpu", "--workers", "0", "--precision", "no"]
    return main([str(recipe), *common, *options])


def balls(folder: Path, cases: int, slices: int = 16, radius: float = 7) -> Path:
    """Cases with a ball each, in the layout of the Medical Segmentation Decathlon."""
    z, y, x = np.mgrid[:slices, :32, :32]
    entries = []
    for n in range(cases):
        label = np.hypot(np.hypot(z - slices // 2, y - 16), x - 16) < radius
        name = f"ball_{n:03}.nii.gz"
        write(folder / "imagesTr" / name, (100 * label + 10 * (x % 3)).astype(np.int16))
        write(folder / "labelsTr" / name, label.astype(np.uint8))
        entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    describe(folder, entries)
    return folder


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


def describe(folder: Path, entries: list[dict]) -> None:
    values = {"name": "Balls", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "ball"},
              "numTraining": len(entries), "training": entries}  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("given", "instead", "said"),
    [
        ("steps = 4", 'steps = "4"', "steps must be a whole number, not '4'"),
        ("steps = 4", "steps = -5", "steps must be at least 1"),
        ("batch = 4", "batch = 1.5", "batch must be a whole number"),
        ("length = 3", "length = 0", "length must be at least 1"),
        ("box = 0.5", "box = 2.5", "sum to 1"),
        ("box = 0.5", "box = -0.5", "0 or more"),
        ("{ noisy-mask = 0.5, box = 0.5 }", '["box"]', "prompts must be a table"),
        ("prompts", "rounds = 0\nprompts", "rounds must be at least 1"),
        ("learning_rate = 1e-2", "learning_rate = -1", "learning_rate must be 0 or more"),
        ("learning_rate = 1e-2", "ema_decay = 2.0", "ema_decay must be from 0 to below 1"),
        ("[optimiser]", "[optimizer]", "has no 'optimizer'"),
        ("seed = 1", 'seed = "one"', "seed must be a whole number"),
        ("seed = 1", "seed = -4", "seed must be 0 or more"),
        ("seed = 1\n", "", "misses 'seed'"),
        ('output = "balls"', 'output = "a/b"', "a file's name without folder"),
        ("embed_dim = 16", "embed_dim = 0", "embed_dim must be at least 1"),
        ("every = 0", "patience = -1", "patience must be 0 or more"),
        ("[optimiser]", '[initial]\nfrozen = "image_encoder."\n[optimiser]', "must be a list"),
        ("[optimiser]", '[losses]\ndice = "much"\n[optimiser]', "dice must be a number"),
        ("seed = 1", "seed = 1\n]", "cannot be used"),
    ],
)
def test_a_recipe_that_means_nothing_is_told_so(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture, given: str, instead: str, said: str
) -> None:
    assert given in RECIPE
    recipe.write_text(RECIPE.replace(given, instead, 1))
    assert run(recipe, tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert str(recipe) in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--accumulate", "3"], "a batch of 4 cannot be divided"),
        (["--accumulate", "0"], "0 parts"),
        (["--frozen", "nonsense."], "No tensor's name begins with 'nonsense.'"),
        (["--start-from", "nowhere.pt"], "nowhere.pt"),
    ],
)
def test_options_that_cannot_be_followed(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture, options: list[str], said: str
) -> None:
    assert run(recipe, tmp_path / "run", *options) == 2
    assert said in capsys.readouterr().err


def test_a_recipe_and_a_folder_that_are_none(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run(tmp_path / "none.toml", tmp_path / "run") == 2
    assert re.search(r"no recipe '.*none.toml'; .*radsam", capsys.readouterr().err)
    assert run(recipe, recipe) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_a_folder_belongs_to_one_run(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "run"
    assert run(recipe, folder, "--until", "1") == 0
    weights = (folder / "balls.safetensors").read_bytes()
    assert run(recipe, folder, "--seed", "9") == 2
    assert "recipe.seed was 1 and is now 9" in capsys.readouterr().err
    assert run(recipe, folder, "--without-noisy-masks") == 2
    assert "prompts.noisy-mask was 0.5 and is now None" in capsys.readouterr().err
    assert run(recipe, folder, "--accumulate", "2") == 2
    capsys.readouterr()
    assert (folder / "balls.safetensors").read_bytes() == weights
    assert run(recipe, folder, "--until", "2") == 0
    (folder / "last.pt").write_bytes(b"\x80no checkpoint")
    assert run(recipe, folder) == 2
    assert "last.pt' is damaged" in capsys.readouterr().err


def test_ctrl_c_ends_the_step_and_the_same_command_goes_on(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(recipe, tmp_path / "whole", "--accumulate", "2") == 0
    with monkeypatch.context() as patched:
        patched.setattr(trainer_module, "LOG_EVERY", 2)
        patched.setattr(
            trainer_module.Trainer, "_log", lambda *_: signal.raise_signal(signal.SIGINT)
        )
        assert run(recipe, tmp_path / "parts", "--accumulate", "2") == 130
    assert "Interrupted at step 2" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert run(recipe, tmp_path / "parts", "--accumulate", "2") == 0
    whole, parts = (
        torch.load(tmp_path / name / "last.pt", weights_only=True)["average"]
        for name in ("whole", "parts")
    )
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_a_run_too_short_for_a_validation_leaves_weights(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(RECIPE.replace("every = 0", "every = 100"))
    assert run(recipe, tmp_path / "run", "--patience", "2", "--until", "2") == 0
    assert not (tmp_path / "run" / "balls.safetensors").exists()
    assert run(recipe, tmp_path / "run", "--patience", "2") == 0
    assert (tmp_path / "run" / "balls.safetensors").is_file()


@pytest.mark.parametrize(("slices", "radius"), [(2, 7.0), (16, 2.2)])
def test_a_case_too_thin_for_a_clip_is_named_or_skipped(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture, slices: int, radius: float
) -> None:
    data = balls(tmp_path / "Task99_Balls", 5)
    other = balls(tmp_path / "thin", 1, slices, radius)
    thin = data / "labelsTr" / "ball_002.nii.gz"
    for kind in ("imagesTr", "labelsTr"):
        (other / kind / "ball_000.nii.gz").replace(data / kind / thin.name)
    # Thick slices: they are cut across their thinnest axis alone.
    for kind in ("imagesTr", "labelsTr"):
        for path in (data / kind).iterdir():
            image = sitk.ReadImage(str(path))
            image.SetSpacing((1.0, 1.0, 5.0))
            sitk.WriteImage(image, str(path))
    options = ["--data", str(data), "--seed", "3"]
    assert run(recipe, tmp_path / "stops", *options) == 2
    error = capsys.readouterr().err
    assert "ball_002" in error
    assert str(thin) in error
    assert run(recipe, tmp_path / "goes-on", *options, "--on-bad-case", "skip") == 0
    assert capsys.readouterr().out.count(str(thin)) == 1


def test_labels_on_another_grid_are_told_before_the_first_step(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = balls(tmp_path / "Task99_Balls", 6)
    assert run(recipe, tmp_path / "run", "--data", str(data), "--until", "0") == 0
    held_out = json.loads((tmp_path / "run" / "split.json").read_text())["parts"]["validation"][0]
    bad = data / "labelsTr" / f"{held_out}.nii.gz"
    image = sitk.ReadImage(str(bad))
    image.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1))  # the same header text, but for the axes
    sitk.WriteImage(image, str(bad))
    assert run(recipe, tmp_path / "run", "--data", str(data)) == 2
    error = capsys.readouterr().err
    assert str(bad) in error
    assert re.search(r"axes -1 0 0, .* against .*axes 1 0 0, ", error)


def test_a_case_taken_away_after_the_split(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = balls(tmp_path / "Task99_Balls", 5)
    folder = tmp_path / "run"
    assert run(recipe, folder, "--data", str(data), "--until", "1") == 0
    train = json.loads((folder / "split.json").read_text())["parts"]["train"]
    description = json.loads((data / "dataset.json").read_text())
    describe(data, [e for e in description["training"] if train[0] not in e["image"]])
    assert run(recipe, folder, "--data", str(data)) == 2
    error = capsys.readouterr().err
    assert str(folder / "split.json") in error
    assert train[0] in error
    assert run(recipe, folder, "--data", str(data), "--on-bad-case", "skip") == 0
    assert f"names the case {train[0]}" in capsys.readouterr().out


def test_every_case_has_its_turn(tmp_path: Path) -> None:
    dataset = open_dataset(balls(tmp_path / "Task99_Balls", 7))
    sources = CaseSources.of(dataset, dataset.cases)
    used: Counter[str] = Counter()
    taken = ClipSampler(1, 3, 64, sources=sources, streams=4, clips_per_volume=2)
    for index in range(56):
        taken(index)
        used.update({taken._held[index % 4][1].title})
    assert len(used) == 7
    assert max(used.values()) - min(used.values()) <= 4
    orders = [[sources(np.random.SeedSequence(0), 3, 7 * turn + n).title for n in range(7)]
              for turn in range(3)]  # fmt: skip
    assert all(len(set(order)) == 7 for order in orders)
    assert orders[0] != orders[1]


def test_more_classes_than_a_source_can_hold(tmp_path: Path) -> None:
    dataset = open_dataset(balls(tmp_path / "Task99_Balls", 1))
    with pytest.raises(ValueError, match="--labels"):
        CaseSources(dataset.cases, tuple(range(1, 300)))
