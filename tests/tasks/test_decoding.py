"""Decoding a classifier's logits with NumPy alone."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmdistill.tasks.classification import ClassificationTask
from mmdistill.tasks.decode.classification import decode, log_softmax, softmax, top_k

STATE = {"classes": ["cat", "dog", "owl"], "counts": [1, 1, 1]}


@given(arrays(np.float32, (3, 4), elements=st.floats(-1e4, 1e4, width=32)), st.floats(0.1, 10))
def test_softmax_is_torchs(logits: np.ndarray, temperature: float) -> None:
    expected = torch.from_numpy(logits).double().div(temperature).softmax(-1).numpy()
    np.testing.assert_allclose(softmax(logits, temperature), expected, rtol=1e-9, atol=1e-300)
    assert np.isfinite(log_softmax(logits, temperature)).all()


def test_the_best_class_and_its_probability() -> None:
    columns = decode({"logits": np.log([[0.2, 0.7, 0.1], [0.5, 0.1, 0.4]])}, STATE)
    assert list(columns) == ["prediction", "probability", "probability[cat]", "probability[dog]", "probability[owl]"]
    assert columns["prediction"] == ["dog", "cat"]
    np.testing.assert_allclose(columns["probability"], [0.7, 0.5])
    np.testing.assert_allclose(columns["probability[owl]"], [0.1, 0.4])


def test_the_runners_up_when_asked_for() -> None:
    columns = decode({"logits": np.log([[0.2, 0.7, 0.1]])}, STATE, k=2)
    assert (columns["prediction_2"], columns["probability_2"][0]) == (["cat"], pytest.approx(0.2))
    assert "prediction_3" not in columns
    assert "prediction_4" not in decode({"logits": np.zeros((1, 3))}, STATE, k=9)


def test_a_temperature_changes_confidence_and_not_the_answer() -> None:
    logits = np.array([[1.0, 3.0, 0.0]])
    warm, cold = decode({"logits": logits}, STATE, temperature=5), decode({"logits": logits}, STATE)
    assert warm["prediction"] == cold["prediction"]
    assert warm["probability"][0] < cold["probability"][0]


def test_ties_go_to_the_first_class_as_in_the_metrics() -> None:
    assert top_k(np.zeros((1, 3)), 2).tolist() == [[0, 1]]


def test_no_rows_give_empty_columns() -> None:
    assert decode({"logits": np.zeros((0, 3))}, STATE)["prediction"] == []


def test_logits_of_another_number_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 4\) for 3 classes"):
        decode({"logits": np.zeros((1, 4))}, STATE)


def test_the_task_names_its_decoder_and_the_decoder_loads_no_torch() -> None:
    module, _, attribute = ClassificationTask.decoder.partition(":")
    assert getattr(importlib.import_module(module), attribute) is decode
    code = f"import sys, {module}, mmdistill.tasks.catalog; sys.exit(any(m in sys.modules for m in ('torch', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
