"""What `mmdistill check` finds in a table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from mmdistill.data.audit import Audit, Reader, audit, render
from mmdistill.data.table import Table, read_table
from mmdistill.recipe.schema import Component, DataSpec, TaskSpec

CLASSIFICATION = {"label": TaskSpec.model_validate("classification")}
WORDS = ("good", "bad", "fine", "poor", "warm", "cold", "soft", "hard", "long", "short")


def look(columns: dict[str, list], spec: dict, root: Path | None = None, **options) -> Audit:
    data = DataSpec.model_validate({"table": "t", "target": "label", **spec})
    return audit(Table.of(columns, root=root), data, CLASSIFICATION, **options)


def codes(found: Audit, level: str | None = None) -> dict[str, str]:
    """Code to place of the findings."""
    return {finding.code: finding.where for finding in found.findings if level in (None, finding.level)}


def good_table(rows: int = 300) -> dict[str, list]:
    random = np.random.default_rng(0)
    return {
        "text": [" ".join(random.choice(WORDS, 5)) + f" {row}" for row in range(rows)],
        "age": random.integers(18, 90, rows).tolist(),
        "label": random.choice(["yes", "no"], rows).tolist(),
    }


GOOD = {"columns": {"text": "text", "person": {"type": "tabular", "numeric": ["age"]}}}


def test_a_clean_table_has_facts_and_no_findings() -> None:
    found = look(good_table(), GOOD)
    assert found.findings == []
    document = json.loads(json.dumps(found.to_json()))
    assert document["rows"] == document["checked"] == 300
    assert document["splits"] == {"train": 240, "validation": 30, "test": 30, "unlabelled": 0, "dropped": 0}
    classes = document["targets"]["label"]["classes"]
    assert sum(counts["test"] for counts in classes.values()) == 30
    assert document["columns"]["text"]["ranges"]["words"] == {"min": 6, "1%": 6, "median": 6, "99%": 6, "max": 6}
    assert document["columns"]["person"]["missing"] == {"train": 0, "validation": 0, "test": 0}


def test_the_terminal_view_shows_classes_columns_and_findings() -> None:
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    table = good_table() | {"constant": ["same"] * 300}
    spec = {"columns": {**GOOD["columns"], "c": {"type": "tabular", "categorical": ["constant"]}}}
    console.print(render(look(table, spec)))
    shown = console.export_text()
    for words in ("300 rows; train 240, validation 30, test 30", "yes", "words 6", "constant", "always 'same'"):
        assert words in shown
    console.print(render(look(good_table(), GOOD)))
    assert "Nothing was found" in console.export_text()


def test_columns_that_give_the_target_away_are_errors_and_identifiers_are_not() -> None:
    table = good_table()
    table["copy"] = [{"yes": 1, "no": 0}[name] for name in table["label"]]
    table["gap"] = [str(row) if name == "yes" else None for row, name in enumerate(table["label"])]
    table["near"] = [name if row % 33 else "?" for row, name in enumerate(table["label"])]
    table["id"] = [f"row-{row}" for row in range(300)]
    spec = {"columns": {"t": {"type": "tabular", "numeric": ["copy", "age"], "categorical": ["gap", "near", "id"]}}}
    found = look(table, spec)
    leaks = {(finding.level, finding.code, finding.where) for finding in found.findings if "leak" in finding.code}
    assert leaks == {
        ("error", "target-leak", "copy"),
        ("error", "target-leak", "gap"),
        ("warning", "near-leak", "near"),
    }


def test_the_target_and_the_split_among_the_inputs_are_found() -> None:
    table = good_table() | {"split": ["train"] * 200 + ["val"] * 50 + ["test"] * 50}
    spec = {"columns": {"t": {"type": "tabular", "categorical": ["label", "split"]}}, "split": "split"}
    found = codes(look(table, spec))
    assert found["target-as-input"] == "label"
    assert found["split-as-input"] == "split"


def test_unreadable_cells_are_errors_or_left_out_as_the_recipe_says() -> None:
    table = good_table()
    table["age"][3], table["age"][5] = "old", float("inf")
    found = look(table, GOOD)
    (finding,) = found.errors
    assert (finding.code, finding.where) == ("unreadable", "person")
    assert "2 of 300" in finding.message
    assert "row 3" in finding.message
    assert "'age'" in finding.message
    assert codes(look(table, {**GOOD, "on_error": "skip"}), "warning") == {"unreadable": "person"}


def test_files_are_read_measured_and_compared_by_content(tmp_path: Path) -> None:
    for row in range(30):
        value = 7 if row in (0, 29) else row * 8
        Image.new("RGB", (20 + row, 10), (value, 0, 0)).resize((20, 10)).save(tmp_path / f"{row}.png")
        with wave.open(str(tmp_path / f"{row}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(np.full(4000 + 80 * row, row, dtype=np.int16).tobytes())
    (tmp_path / "4.png").write_bytes(b"no picture")
    table = {
        "image": [f"{row}.png" for row in range(30)],
        "sound": [f"{row}.wav" if row != 8 else "gone.wav" for row in range(30)],
        "label": ["a", "b"] * 15,
        "split": ["train"] * 20 + ["val"] * 5 + ["test"] * 5,
    }
    spec = {"columns": {"image": {"type": "image", "size": 8}, "sound": {"type": "audio", "sample_rate": 8000}}}
    found = look(table, {**spec, "split": "split"}, root=tmp_path)
    assert {finding.where: finding.message for finding in found.errors}.keys() == {"image", "sound"}
    columns = found.facts["columns"]
    assert columns["image"]["ranges"]["width"]["max"] == 20
    assert columns["sound"]["ranges"]["seconds"]["min"] == 0.5
    assert columns["sound"]["ranges"]["seconds"]["max"] == pytest.approx((4000 + 80 * 29) / 8000, abs=1e-3)
    assert found.facts["duplicates"]["columns"]["image"]["across"]["train/test"] == 1
    assert codes(found)["column-duplicates"] == "image"


def test_duplicates_within_and_across_splits() -> None:
    table = good_table() | {"split": ["train"] * 200 + ["val"] * 50 + ["test"] * 50}
    for row in (5, 210, 260, 261):
        table["text"][row], table["age"][row] = table["text"][0], table["age"][0]
    found = look(table, {**GOOD, "split": "split"})
    assert found.facts["duplicates"]["within"] == {"train": 1, "validation": 0, "test": 1}
    assert found.facts["duplicates"]["across"] == {"train/validation": 1, "train/test": 2, "validation/test": 2}
    across = [finding for finding in found.warnings if finding.code == "duplicates-across"]
    assert [finding.where for finding in across] == ["train/validation", "train/test", "validation/test"]
    assert "row 260" in across[1].message


def test_equal_inputs_with_different_labels_are_pointed_at() -> None:
    table = good_table()
    for row in (0, 1, 2, 3):
        table["text"][row], table["age"][row] = ("same", 5) if row < 2 else ("other", 6)
    table["label"][:4] = ["yes", "no", "yes", "yes"]
    found = look(table, GOOD)
    assert found.facts["label_noise"]["label"] == {"groups": 1, "rows": 2}
    assert "row 0 and row 1 ('yes' and 'no')" in next(f.message for f in found.findings if f.code == "label-noise")


def test_odd_classes_are_found() -> None:
    table = good_table() | {"split": ["train"] * 200 + ["val"] * 50 + ["test"] * 50}
    table["label"][0:3] = ["Yes", "yes ", "never"]
    table["label"][299] = "new"
    found = look(table, {**GOOD, "split": "split"})
    assert codes(found, "error") == {"unseen-class": "label, test"}
    messages = " ".join(finding.message for finding in found.warnings)
    assert "'Yes', 'yes' differ in case" in messages
    assert "fewer than 10 training rows: 'Yes', 'never'" in messages


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        (["yes"] * 300, "one-class"),
        ([float("nan")] + [1.0, 0.0] * 149 + [1.0], "target-not-finite"),
        ([float("inf")] + [1.0, 0.0] * 149 + [1.0], "target-not-finite"),
        ([row / 7 for row in range(300)], "many-classes"),
        (["yes"] * 290 + ["no"] * 10, "one-sided"),
    ],
)
def test_odd_targets_are_found(labels: list, code: str) -> None:
    assert code in codes(look(good_table() | {"label": labels}, GOOD))


def test_constant_and_empty_columns_and_rows_are_found() -> None:
    table = good_table() | {"same": ["x"] * 300, "nothing": [None] * 300}
    spec = {"columns": {"same": "text", "nothing": "text", "t": {"type": "tabular", "numeric": ["age"]}}}
    found = look(table, spec)
    assert {finding.where for finding in found.findings if finding.code == "constant"} == {"same", "nothing"}
    assert codes(found, "error") == {"always-missing": "nothing, train"}
    table = good_table()
    table["text"][7], table["age"][7] = None, None
    (empty,) = [finding for finding in look(table, GOOD).findings if finding.code == "empty-rows"]
    assert "row 7" in empty.message


def test_a_split_that_cannot_be_made_is_an_error_and_the_rest_is_still_checked() -> None:
    table = good_table() | {"split": ["train", "test"] * 150, "who": ["ann", "ann", "bob"] * 100, "same": ["x"] * 300}
    spec = {"columns": {"same": "text"}, "split": {"column": "split", "group": "who"}}
    found = look(table, spec)
    (error,) = found.errors
    assert error.code == "split"
    assert "'ann', 'bob'" in error.message
    assert "constant" in codes(found)


def test_unknown_columns_are_all_named_at_once() -> None:
    spec = {"columns": {"text": "text", "t": {"type": "tabular", "numeric": ["aeg"]}}, "target": "lable"}
    found = look(good_table(), spec)
    assert [(finding.where, finding.fix) for finding in found.errors] == [
        ("data.columns.t", "Did you mean 'age'?"),
        ("tasks.label.target", "Did you mean 'label'?"),
    ]


def test_columns_that_look_like_torn_groups_are_pointed_at() -> None:
    table = good_table() | {"patient_id": [row % 40 for row in range(300)]}
    assert codes(look(table, GOOD), "info") == {"possible-group": "patient_id"}
    assert "possible-group" not in codes(look(table, {**GOOD, "split": {"group": "patient_id", "validation": 0.2}}))


def test_cut_texts_are_counted() -> None:
    spec = {"columns": {"text": {"type": "text", "max_length": 4}}}
    (finding,) = look(good_table(), spec).findings
    assert (finding.code, "300 of 300" in finding.message) == ("cut", True)


def test_a_limit_reads_a_sample_and_says_so() -> None:
    done: list[tuple[int, int]] = []
    found = look(good_table(3000), GOOD, limit=1000, progress=lambda rows, of: done.append((rows, of)))
    assert (found.rows, found.checked) == (3000, 1000)
    assert done == [(500, 1000), (1000, 1000)]


def test_the_number_of_the_row_may_stand_for_a_column(tmp_path: Path) -> None:
    np.savez(tmp_path / "features.npz", sound=np.random.default_rng(0).random((300, 4)).astype(np.float32))
    spec = {"columns": {"sound": {"type": "vector", "source": "row", "root": "features.npz", "key": "sound"}}}
    found = look(good_table(), spec, root=tmp_path)
    assert found.findings == []
    assert found.facts["columns"]["sound"]["sources"] == ["row"]


def test_unlabelled_rows_are_counted() -> None:
    table = good_table() | {"split": ["train"] * 200 + ["val"] * 50 + ["test"] * 50}
    table["label"][0] = table["label"][299] = None
    found = look(table, {**GOOD, "split": "split"})
    assert found.facts["splits"] == {"train": 200, "validation": 50, "test": 49, "unlabelled": 1, "dropped": 1}


def test_an_audit_of_text_tables_needs_no_heavy_package(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\n" + "".join(f"word {row},{row % 2}\n" for row in range(60)))
    program = f"""
import sys
for name in ("torch", "pandas", "pyarrow", "sklearn", "scipy", "datasets"):
    sys.modules[name] = None
from mmdistill.data.audit import audit
from mmdistill.data.table import read_table
from mmdistill.recipe.schema import Component, DataSpec, TaskSpec
data = DataSpec.model_validate({{"table": "t", "target": "label", "columns": {{"text": "text"}}}})
tasks = {{"y": TaskSpec.model_validate("classification")}}
print(len(audit(read_table({str(tmp_path / "t.csv")!r}), data, tasks).errors))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


needs_data = pytest.mark.skipif("MMDISTILL_DATA" not in os.environ, reason="MMDISTILL_DATA is not set")


def look_at(name: str, target: str, columns: dict, split: object) -> Audit:
    path = Path(os.environ["MMDISTILL_DATA"]) / name
    data = DataSpec.model_validate({"table": str(path), "target": target, "columns": columns, "split": split})
    return audit(read_table(path), data, CLASSIFICATION, limit=2000)


@needs_data
def test_the_leaking_offsets_of_covid_xray_are_refused_and_its_infinities_named() -> None:
    numeric = ["icu_admission_offset", "icu_release_offset", "admission_offset", "crp_val", "ldh_val", "orig_width"]
    columns = {
        "image": {"type": "image", "source": "file", "root": "images.zip/images", "size": 32},
        "lab": {"type": "tabular", "numeric": numeric, "categorical": ["sex", "image_id"]},
    }
    found = look_at("covid_xray/metadata.csv", "icu", columns, {"column": "split", "group": "patient_id"})
    leaks = [finding.where for finding in found.errors if finding.code == "target-leak"]
    assert leaks == ["icu_admission_offset", "icu_release_offset"]
    (unreadable,) = [finding for finding in found.errors if finding.code == "unreadable"]
    assert "metadata.csv, line 17" in unreadable.message
    assert "-inf" in unreadable.message
    assert codes(found)["constant"] == "orig_width"


@needs_data
@pytest.mark.parametrize(
    ("name", "target", "columns", "split"),
    [
        ("banking77/train.csv", "category", {"text": "text"}, {}),
        ("mr_polarity/sentences.csv", "label", {"text": "text"}, "split"),
        (
            "womens_clothing_reviews/reviews.csv.gz",
            "recommended",
            {"text": {"type": "text", "source": "review_text"}, "t": {"type": "tabular", "numeric": ["row_id", "age"]}},
            "split",
        ),
        (
            "nlvr_subset/pairs.csv",
            "label",
            {"file": {"type": "image", "root": "images.zip/images", "size": [16, 64]}, "sentence": "text"},
            "split",
        ),
    ],
)
def test_well_kept_sets_have_no_errors(name: str, target: str, columns: dict, split: object) -> None:
    assert look_at(name, target, columns, split).errors == []


def test_subsets_of_columns_that_never_occur_in_training_are_warned_about_for_every_model() -> None:
    table = good_table() | {"split": ["train"] * 240 + ["validation"] * 30 + ["test"] * 30}
    table["age"][250] = None  # a row of validation
    table["text"][290] = table["age"][291] = None
    spec = {**GOOD, "split": "split"}
    both = ("person", "text")
    models = {
        "plain": Reader(both),
        "hidden": Reader(both, Component(name="independent")),
        "listed": Reader(both, Component(name="listed", combinations={"text": 1.0, "text+person": 1.0})),
        "one": Reader(("text",)),
    }
    found = [one for one in look(table, spec, models=models).warnings if one.code == "unseen-subset"]
    assert {one.where for one in found} == {"plain, validation", "plain, test", "listed, test"}
    told = {one.where: one.message for one in found}
    assert "1 of 30 (3.3 %) rows of validation" in told["plain, validation"] and "'text'" in told["plain, validation"]
    assert "2 of 30" in told["plain, test"] and "'person'" in told["plain, test"] and "'text'" in told["plain, test"]
    assert "1 of 30" in told["listed, test"] and "'text'" not in told["listed, test"]
    fixes = {one.where: one.fix for one in found}
    assert fixes["plain, test"].startswith("Set `modality_dropout` for the model")
    assert fixes["listed, test"].startswith("Its `modality_dropout`, 'listed', does not show them: let it show them")
    table["text"][0] = table["age"][1] = None  # now training rows have both
    assert "unseen-subset" not in codes(look(table, spec, models={"plain": Reader(both)}))


def test_columns_that_no_training_row_has_together_are_beyond_every_dropout() -> None:
    table = good_table() | {"split": ["train"] * 240 + ["validation"] * 30 + ["test"] * 30}
    for row in range(240):
        table["text" if row % 2 else "age"][row] = None
    models = {"plain": Reader(("person", "text")), "hidden": Reader(("person", "text"), Component(name="uniform"))}
    found = look(table, {**GOOD, "split": "split"}, models=models).warnings
    fixes = [one.fix for one in found if one.code == "unseen-subset"]
    assert len(fixes) == 4 and all("no `modality_dropout` can mend: split the rows anew" in fix for fix in fixes)


def test_rows_that_have_nothing_are_no_unseen_subset() -> None:
    table = good_table() | {"split": ["train"] * 240 + ["validation"] * 30 + ["test"] * 30}
    table["age"][250] = table["text"][250] = None
    found = look(table, {**GOOD, "split": "split"}, models={"plain": Reader(("person", "text"))})
    assert "unseen-subset" not in codes(found)
