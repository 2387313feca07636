"""Abdomens painted from an atlas, tried with an atlas made of a few boxes and balls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.models.download import CACHE_VARIABLE
from SAM2Medical3DLib.training.recipe import Recipe
from SAM2Medical3DLib.training.sources import SyntheticSources
from SAM2Medical3DLib.training.synthesis import atlas as module
from SAM2Medical3DLib.training.synthesis import synthesise_volume
from SAM2Medical3DLib.training.synthesis.atlas import CANAL, LUNG, Atlas, deform, read_atlas

SMALL = (40, 96, 96)
LIVER, KIDNEY, PELVIS, COLON, AORTA, CAVA, VERTEBRA, MUSCLE = 3, 51, 145, 9, 7, 8, 502, 131


def ball(labels: np.ndarray, value: int, centre: tuple, radii: tuple) -> None:
    grid = np.indices(labels.shape).astype(float)
    away = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True))
    labels[away < 1] = value


@pytest.fixture(scope="module")
def atlas_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Feet to head, front to back, right to left, but stored upside down and mirrored."""
    labels = np.zeros((60, 120, 120), np.int16)
    labels[:, 95:105, 20:100] = MUSCLE  # along the back
    labels[:, 20:25, 30:90] = 32  # along the front
    ball(labels, LIVER, (38, 55, 35), (14, 22, 20))
    ball(labels, COLON, (15, 40, 45), (8, 6, 6))
    ball(labels, COLON, (15, 40, 75), (8, 6, 6))
    ball(labels, KIDNEY, (28, 75, 85), (12, 9, 9))
    ball(labels, PELVIS, (28, 75, 80), (4, 3, 3))
    labels[:, 66:71, 62:67] = AORTA
    labels[:, 66:71, 52:57] = CAVA
    labels[:, 75:94, 52:68] = VERTEBRA
    labels[:, 85:90, 57:63] = 0  # the canal
    stored = labels[::-1, :, ::-1]
    image = sitk.GetImageFromArray(np.ascontiguousarray(stored))
    image.SetSpacing((1.5, 1.5, 2.0))
    image.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, -1))
    path = tmp_path_factory.mktemp("atlas") / "atlas.nrrd"
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture(scope="module")
def atlas(atlas_file: Path) -> Atlas:
    return read_atlas(atlas_file)


def test_the_atlas_is_turned_upright_and_completed(atlas: Atlas) -> None:
    np.testing.assert_allclose(atlas.spacing, (2.0, 1.5, 1.5))
    liver = np.argwhere(atlas.labels == LIVER).mean(0)
    kidney = np.argwhere(atlas.labels == KIDNEY).mean(0)
    assert liver[0] > kidney[0], "the head is up"
    assert liver[2] < kidney[2], "the body's right is first"
    assert (atlas.labels == CANAL).any(), "free voxels inside the vertebrae"
    lung = np.argwhere(atlas.labels == LUNG)
    assert len(lung), "free voxels over the liver"
    assert lung[:, 0].min() > np.argwhere(atlas.labels == COLON)[:, 0].max()
    assert (atlas.depth[atlas.labels > 0] > -3).all()
    assert (atlas.depth[:, 0] < 0).all()


def test_a_deformed_view_holds_the_atlas_and_nothing_else(atlas: Atlas) -> None:
    volumes = []
    for seed in range(4):
        view = deform(atlas, np.random.default_rng(seed), SMALL)
        assert view.labels.shape == view.depth.shape == SMALL
        assert set(np.unique(view.labels)) <= set(np.unique(atlas.labels))
        volumes.append(np.count_nonzero(view.labels == LIVER))
        again = deform(atlas, np.random.default_rng(seed), SMALL)
        np.testing.assert_array_equal(view.labels, again.labels)
    assert len(set(volumes)) == 4


@pytest.mark.parametrize("seed", range(5))
def test_an_abdomen_is_a_well_formed_volume(atlas: Atlas, seed: int) -> None:
    volume = synthesise_volume(seed, SMALL, atlas, share=1.0)
    assert volume.image.shape == volume.labels.shape == SMALL
    assert np.isfinite(volume.image).all()
    assert volume.image.astype(np.float32).std() > 0.02
    present = np.unique(volume.labels)
    np.testing.assert_array_equal(present, np.arange(len(volume.parents)))
    assert len(present) >= 6, "liver, kidney, bowel, vessels, bone and muscles"
    again = synthesise_volume(seed, SMALL, atlas, share=1.0)
    np.testing.assert_array_equal(volume.labels, again.labels)


def test_targets_are_the_atlas_structures(atlas: Atlas) -> None:
    """A painted organ overlaps the label that it was painted from, and loops are told apart."""
    rng = np.random.default_rng(3)
    rng.random()  # as synthesise_volume draws before the scene
    view = deform(atlas, rng, SMALL)
    volume = synthesise_volume(3, SMALL, atlas, share=1.0)
    whole = {n: {n} for n in range(1, len(volume.parents))}
    for child, parent in enumerate(volume.parents):
        if parent:
            whole[parent].add(child)
    for value in (KIDNEY, VERTEBRA):
        truth = view.labels == value
        scores = [
            2 * np.count_nonzero(truth & (found := np.isin(volume.labels, list(members))))
            / (np.count_nonzero(truth) + np.count_nonzero(found))
            for members in whole.values()
        ]  # fmt: skip
        assert max(scores) > 0.7, value


def test_the_share_decides_how_often(atlas: Atlas) -> None:
    plain = [synthesise_volume(seed, SMALL).labels for seed in range(3)]
    never = [synthesise_volume(seed, SMALL, None, 1.0).labels for seed in range(3)]
    for a, b in zip(plain, never, strict=True):
        np.testing.assert_array_equal(a, b)
    source = SyntheticSources(SMALL, atlas, 1.0)(np.random.SeedSequence(1))
    assert source.targets
    assert np.isclose(sum(source.odds), 1)


def test_without_a_connection_training_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(module, "URL", "http://127.0.0.1:9/seg.nrrd")
    with pytest.raises(UserError, match="put the file into"):
        SyntheticSources.of(0.5)
    assert SyntheticSources.of(0.0).atlas is None


def test_a_share_is_between_nothing_and_all(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'seed = 1\noutput = "x"\natlas = 1.5\n[[stages]]\nname = "s"\nsteps = 1\nimage_size = 128\n'
        "length = 1\nbatch = 1\nprompts = { box = 1.0 }\n"
    )
    with pytest.raises(UserError, match="from 0 to 1"):
        Recipe.read(recipe)
