"""``evaluate`` from the command line: reports, resuming, comparing, bad folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from evaluation_folders import run, small_case, table, write_case, write_cases
from SAM2Medical3DLib.datasets import open_dataset, split_by_patient, write_split
from SAM2Medical3DLib.evaluation import worker as worker_module
from SAM2Medical3DLib.evaluation.statistics import compare, mean_interval


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cases(tmp_path_factory.mktemp("data") / "small", 3)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, cases: Path, tiny_model: Path) -> Path:
    """A report of two protocols with one that has rounds."""
    out = tmp_path_factory.mktemp("reports") / "first"
    words = ["--protocol", "shen2024-1mask", "radsam-edit", "--rounds", 2, "--worst", 1]
    status = run("--cases", cases, *words, "--model", tiny_model, "--labels", "egg=1", "ball=2",
                 "--device", "cpu", "--out", out)  # fmt: skip
    assert status == 0
    return out


def test_the_report(report: Path) -> None:
    rows = table(report)
    # 3 cases of 2 objects: (1 method, 3 references) of 1 round, (3 rounds, 3 references).
    assert len(rows) == 3 * 2 * (4 + 6)
    assert {row.object for row in rows} == {"egg", "ball"}
    assert {row.method for row in rows} == {"sam2", "copy", "intensity", "prompt only"}
    assert all(0 <= row.dice <= 1 and row.hd95_mm >= 0 and 0 <= row.nsd <= 1 for row in rows)
    edits = [row.interactions for row in rows if row.prompt == "box + clicks"]
    assert edits == [1, 2, 3] * 6
    text = (report / "report.md").read_text()
    for title in ("## Results: small", "### radsam-edit", "## Worst results", "tiny.safetensors"):
        assert title in text
    described = json.loads((report / "run.json").read_text())
    assert described["command"].startswith("sam2medical3d evaluate --cases ")
    assert len(described["models"][0]["sha256"]) == 64
    assert described["models"][0]["sha256"] in text
    assert described["versions"]["monai"] in text
    page = (report / "report.html").read_text()
    pictures = list((report / "plots").iterdir())
    assert {p.name for p in pictures} == {
        "boxes-small-shen2024-1mask.png", "boxes-small-radsam-edit.png",
        "clicks-small-radsam-edit.png", "worst-sam2-1.jpg",
    }  # fmt: skip
    assert page.count('src="data:image/') == len(pictures)
    assert "http" not in page.replace("http-equiv", "")


def test_the_same_run_gives_the_same_numbers(
    report: Path, cases: Path, tiny_model: Path, tmp_path: Path
) -> None:
    words = ["--protocol", "shen2024-1mask", "radsam-edit", "--rounds", 2, "--worst", 1]
    run("--cases", cases, *words, "--model", tiny_model, "--labels", "egg=1", "ball=2",
        "--device", "cpu", "--out", tmp_path / "again")  # fmt: skip
    assert table(tmp_path / "again") == table(report)
    for name in ("plots/boxes-small-radsam-edit.png", "plots/worst-sam2-1.jpg"):
        assert (tmp_path / "again" / name).read_bytes() == (report / name).read_bytes()


class _Interrupted(Exception):
    pass


def test_an_interrupted_run_goes_on(
    cases: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--cases", cases, "--protocol", "radsam-single-prompt", "--model", tiny_model,
             "--no-references", "--worst", 0, "--out", tmp_path]  # fmt: skip
    original = worker_module.scores
    calls = 0

    def scores(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(worker_module, "scores", scores)
    assert run(*words) == 130
    assert not (tmp_path / "results.csv").exists()
    kept = tmp_path / "work" / "results.jsonl"
    with kept.open("a") as file:
        file.write('{"key": "half a li')  # as if the machine had been switched off
    assert run(*words) == 0
    # 18 results, of which 4 were there and one had been broken off.
    assert calls == 5 + 14
    assert len(table(tmp_path)) == 18
    assert run(*words) == 0
    assert calls == 5 + 14
    # Another option that decides the results, and only then.
    assert run(*words, "--tolerance", 2) == 0
    assert calls == 5 + 14 + 18
    assert run(*words, "--rounds", 9) == 0
    assert calls == 5 + 14 + 18


def test_other_weights_or_data_are_evaluated_anew(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file, safe_open, save_file

    data = write_cases(tmp_path / "data", 2)
    model = tmp_path / "model.safetensors"
    model.write_bytes(tiny_model.read_bytes())
    original, calls = worker_module.scores, []

    def scores(*arguments: object) -> object:
        calls.append(1)
        return original(*arguments)

    monkeypatch.setattr(worker_module, "scores", scores)
    words = ["--cases", data, "--protocol", "shen2024-1mask", "--model", model,
             "--no-references", "--worst", 0, "--out", tmp_path / "out"]  # fmt: skip
    assert run(*words) == 0
    assert len(calls) == 4
    weights = load_file(model)
    with safe_open(model, "pt") as file:
        metadata = file.metadata()
    save_file({k: v + 0.01 for k, v in weights.items()}, model, metadata)
    assert run(*words) == 0
    assert len(calls) == 8
    image, labels = small_case(7)
    write_case(data, "case_1", image, labels)
    assert run(*words) == 0
    assert len(calls) == 10


def test_against_another_report(
    report: Path, cases: Path, tiny_model: Path, tmp_path: Path
) -> None:
    words = ["--cases", cases, "--labels", "egg=1", "ball=2", "--protocol", "shen2024-1mask"]
    status = run(*words, "--method", "radsam", "--model", tiny_model, "--worst", 0,
                 "--against", report, "--out", tmp_path)  # fmt: skip
    assert status == 0
    text = (tmp_path / "report.md").read_text()
    assert f"## Against {report}" in text
    # Each report has one method: they are compared though their names differ.
    [line] = [x for x in text.splitlines() if x.startswith("| shen2024-1mask | mask | radsam |")
              and "| Dice |" in x]  # fmt: skip
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    old = [r.dice for r in table(report) if r.method == "sam2" and r.round == 0
           and r.protocol == "shen2024-1mask"]  # fmt: skip
    new = [r.dice for r in table(tmp_path) if r.method == "radsam"]
    assert cells[3:8] == [
        "sam2 tiny.safetensors → tiny.safetensors", "Dice", "6",
        f"{np.mean(old):.3f}", f"{np.mean(new):.3f}",
    ]  # fmt: skip
    assert cells[8].startswith(f"{np.mean(new) - np.mean(old):.3f} [")


def test_against_nothing_is_said_before_the_work(
    cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run("--cases", cases, "--protocol", "all", "--against", tmp_path / "none",
               "--out", tmp_path / "out") == 2  # fmt: skip
    assert "give a report's folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_paired_differences() -> None:
    before = [0.3, 0.1, 0.1, 0.1, 0.1, 0.1]
    after = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    found = compare(before, after, list("abcdef"))
    assert found.pairs == 6
    assert found.difference.value == pytest.approx(1.9 / 6)
    assert (found.better, found.worse) == (5, 1)
    # Only the smallest difference is negative: 2 of the 64 patterns of signs have a rank sum of at
    # most 1, and as many one of at least 20.
    assert found.p == pytest.approx(4 / 64)
    assert compare(before, before, list("abcdef")).p == 1
    assert compare([0.5], [0.6], ["a"]).p is None


def test_intervals_draw_patients_not_objects() -> None:
    values, patients = [0.2] * 5 + [0.8] * 5, ["a"] * 5 + ["b"] * 5
    by_patient = mean_interval(values, patients)
    assert by_patient.value == pytest.approx(0.5)
    assert (by_patient.low, by_patient.high) == (pytest.approx(0.2), pytest.approx(0.8))
    by_object = mean_interval(values, list("abcdefghij"))
    assert by_object.low > 0.25
    assert mean_interval(values, ["a"] * 10).low is None
    assert mean_interval(values, patients) == by_patient


def test_bad_cases_are_reported_and_the_rest_goes_on(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = write_cases(tmp_path / "data", 2)
    image, labels = small_case(5)
    write_case(data, "unlabelled", image, None)
    write_case(data, "othergrid", image, labels[:, :-3])
    write_case(data, "nothing", image, np.zeros_like(labels))
    write_case(data, "oneobject", image, np.where(labels == 2, 2, 0).astype(np.uint8))
    fractions = sitk.GetImageFromArray(labels * 0.5)
    write_case(data, "fractions", image, None)
    fractions.SetSpacing((0.8, 0.9, 3.0))
    sitk.WriteImage(fractions, str(data / "labels" / "fractions.nii.gz"))
    out = tmp_path / "out"
    status = run("--cases", data, "--protocol", "shen2024-1mask", "--model", tiny_model,
                 "--labels", "egg=1", "ball=2", "--out", out)  # fmt: skip
    assert status == 3
    rows = table(out)
    good = {(row.case, row.object) for row in rows if not row.status}
    assert good == {("case_0", "egg"), ("case_0", "ball"), ("case_1", "egg"), ("case_1", "ball"),
                    ("oneobject", "ball")}  # fmt: skip
    shown = capsys.readouterr().err
    text = (out / "report.md").read_text()
    refused = text.split("## Not evaluated")[1].split("\n## ")[0]
    for name in ("unlabelled", "othergrid", "nothing", "fractions"):
        lines = [line for line in refused.splitlines() if name in line]
        assert len(lines) == 1, name
        assert f"{name}" in shown
    assert "oneobject: egg: the label is empty in this case" in text.split("## Skipped")[1]
    # A failed case is tried again, one that was skipped is not.
    write_case(data, "othergrid", image, labels)
    assert run("--cases", data, "--protocol", "shen2024-1mask", "--model", tiny_model,
               "--labels", "egg=1", "ball=2", "--out", out) == 3  # fmt: skip
    assert {r.case for r in table(out) if not r.status} == {
        "case_0", "case_1", "oneobject", "othergrid"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cases", "none", "--protocol", "all"], "no dataset folder none"),
        (["--cases", "DATA", "DATA", "--protocol", "all"], "there twice"),
        (["--cases", "DATA", "--protocol", "best"], "Unknown protocol 'best'"),
        (["--cases", "DATA", "--protocol", "all", "--method", "magic"], "Unknown method 'magic'"),
        (["--cases", "DATA", "--protocol", "all", "--labels", "9"], "has no label '9'"),
        (["--cases", "DATA", "--protocol", "all", "--labels", "egg=x"], "NAME=VALUE"),
        (["--cases", "DATA", "--protocol", "all", "--model", "none.pt"], "Unknown model"),
        (["--cases", "DATA", "--protocol", "all", "--only", "zzz"], "nothing to evaluate"),
        (["--cases", "DATA", "--protocol", "shen2024-5clicks", "--clicks", "11"], "1 to 10"),
        (["--cases", "DATA", "--protocol", "supervised", "--salient-area"], "salient area"),
        (["--cases", "phantom:0", "--protocol", "all"], "from 1 to 100"),
        (["--cases", "development:none", "--protocol", "all"], "no development volumes"),
    ],
)
def test_mistakes_are_one_sentence(
    cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture, words: list[str], said: str
) -> None:
    words = [str(cases) if word == "DATA" else word for word in words]
    assert run(*words, "--out", tmp_path / "out") == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


def test_a_class_that_no_case_has_is_skipped(tiny_model: Path, tmp_path: Path) -> None:
    image, labels = small_case(0)
    data = tmp_path / "data"
    write_case(data, "with", image, labels)
    write_case(data, "without", image, np.where(labels == 2, 2, 0).astype(np.uint8))
    status = run("--cases", data, "--protocol", "shen2024-1mask", "--labels", "egg=1",
                 "--model", tiny_model, "--no-references", "--out", tmp_path / "out")  # fmt: skip
    assert status == 0
    assert [(row.case, row.status) for row in table(tmp_path / "out")] == [
        ("with", ""), ("without", "skipped")
    ]  # fmt: skip


def test_splits_merging_and_clicks(cases: Path, tiny_model: Path, tmp_path: Path) -> None:
    dataset = open_dataset(cases)
    split = split_by_patient(dataset, seed=1)
    path = write_split(tmp_path / "split.json", split)
    out = tmp_path / "out"
    status = run("--cases", cases, "--protocol", "supervised", "shen2024-5clicks", "--clicks", 2,
                 "--split", path, "--merge", "--no-references", "--model", tiny_model,
                 "--out", out)  # fmt: skip
    assert status == 0
    rows = table(out)
    assert {row.case for row in rows} == set(split["validation"])
    assert {row.object for row in rows} == {"foreground"}
    assert {row.protocol for row in rows} == {"supervised", "shen2024-2clicks"}
    assert "no split was given" not in (out / "report.md").read_text()


def test_phantoms_are_a_test_set(tiny_model: Path, tmp_path: Path) -> None:
    status = run("--cases", "phantom:1", "--labels", "lesion", "--protocol", "shen2024-1mask",
                 "--salient-area", "both", "--no-patient-images", "--model", tiny_model,
                 "--out", tmp_path)  # fmt: skip
    assert status == 0
    assert {row.object for row in table(tmp_path)} == {"lesion"}
    assert {r.protocol for r in table(tmp_path)} == {"shen2024-1mask", "shen2024-1mask (salient)"}
    assert any(path.name.startswith("worst-") for path in (tmp_path / "plots").iterdir())


def test_no_patient_is_shown_where_that_is_asked(
    cases: Path, tiny_model: Path, tmp_path: Path
) -> None:
    assert run("--cases", cases, "--limit", 1, "--protocol", "shen2024-1mask", "--model",
               tiny_model, "--no-patient-images", "--out", tmp_path) == 0  # fmt: skip
    assert not [p for p in (tmp_path / "plots").iterdir() if p.name.startswith("worst-")]


def test_the_development_volumes(data: Path, tmp_path: Path) -> None:
    """The bundled model on real lesions, and as their own layout."""
    status = run("--cases", data / "ct-lesions", "--only", "CT_Lesion_000001*", "--protocol",
                 "radsam-single-prompt", "--out", tmp_path)  # fmt: skip
    assert status == 0
    found = {row.prompt: row.dice for row in table(tmp_path) if row.method == "sam2"}
    assert found["mask"] > 0.85
    assert set(found) == {"point", "box", "mask"}
