"""The phantom in the Sample Data module, and what the module says of itself."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from application_stubs import stub_module, stub_translation

ICONS = Path(__file__).resolve().parents[1] / "SAM2Medical3D" / "Resources" / "Icons"


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    stub_translation(monkeypatch)
    names = ("notice", "sample_data", "thumbnails")
    modules = {name: import_module(f"SAM2Medical3DLib.application.{name}") for name in names}
    return SimpleNamespace(**modules)


def test_the_notice_is_shown_until_it_was_read(
    application: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    values: dict[str, object] = {}
    settings = SimpleNamespace(setValue=values.__setitem__)

    def value(key: str, default: object, convert: type, _settings: object) -> object:
        return convert(values[key]) if key in values else default

    monkeypatch.setattr(
        slicer, "app", SimpleNamespace(userSettings=lambda: settings), raising=False
    )
    stub_module(monkeypatch, "slicer.util", settingsValue=value)
    notice = application.notice
    assert notice.notice_is_due()
    notice.remember_notice()
    assert not notice.notice_is_due()
    values.update(dict.fromkeys(values, "0"))
    assert notice.notice_is_due()
    assert "not for clinical use" in notice.notice_text()
    assert notice.notice_text() in notice.help_text()
    assert notice.acknowledgement_text().count("arxiv.org/abs/") == 4


def test_the_phantom_comes_as_nodes(application: SimpleNamespace) -> None:
    import slicer

    from SAM2Medical3DLib.mrml.segments.segmentations import read_segment
    from SAM2Medical3DLib.phantom import Phantom

    labels = np.zeros((4, 6, 8), np.uint8)
    labels[1:3, 2:4, 2:5], labels[1:3, 4:, 5:] = 1, 2
    phantom = Phantom(labels.astype(np.int16) * 100, labels, (1.5, 1.5, 3.0), {1: "a", 2: "b"})
    scene = slicer.vtkMRMLScene()
    volume, segmentation = application.sample_data.phantom_nodes(scene, phantom, True)
    assert (volume.GetName(), segmentation.GetName()) == ("PhantomCT", "PhantomCT segments")
    assert volume.GetScalarVolumeDisplayNode().GetWindow() == 400
    for label, name in phantom.names.items():
        mask = read_segment(segmentation, name, volume)
        np.testing.assert_array_equal(mask, labels == label)
    (second,) = application.sample_data.phantom_nodes(scene, phantom, False)
    assert second.GetName() == "PhantomCT_1"


def test_sample_data_is_registered_once(
    application: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources: dict[str, list] = {}

    class Logic:
        @staticmethod
        def sampleDataSourcesByCategory() -> dict[str, list]:
            return sources

        @staticmethod
        def registerCustomSampleDataSource(category: str, **options: object) -> None:
            sources[category].append(SimpleNamespace(**options))

    stub_module(monkeypatch, "SampleData", SampleDataLogic=Logic)
    for _ in range(2):
        application.sample_data.register_sample_data(ICONS)
    plain, segmented = sources["SAM2Medical3D"]
    assert plain.customDownloader is application.sample_data.load_phantom
    assert segmented.sampleDescription == "CT phantom with segments"
    for source in (plain, segmented):
        with Image.open(source.thumbnailFileName) as thumbnail:
            assert thumbnail.size == (256, 256)


def test_the_thumbnails_show_the_phantom(application: SimpleNamespace, tmp_path: Path) -> None:
    for path in application.thumbnails.write_thumbnails(tmp_path):
        made, kept = (np.asarray(Image.open(p), np.float32) for p in (path, ICONS / path.name))
        assert np.abs(made - kept).mean() < 2
