"""The codec in the company it will be in: processes, threads, meta-estimators, type checkers."""

import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from numpy.testing import assert_array_equal
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier, StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_predict, cross_validate, learning_curve
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE, save

ROOT = Path(__file__).resolve().parent.parent


def codec(**parameters):
    quick = {"bits": 12, "max_epochs": 1, "beam_width": 2, "random_state": 0}
    return HierarchicalVQVAE(**(quick | parameters))


def unmeasured(**parameters):
    """Codec whose plan is a formula, without rows kept aside: for the company that fits several
    and reads no plan."""
    return codec(auto_compression_strategy="uniform", early_stopping=False, **parameters)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    X = rng.normal(size=(120, 2)) + 3 * y[:, None]
    X = np.repeat(X, 3, axis=1) + 0.3 * rng.normal(size=(120, 6))
    return pd.DataFrame(X, columns=[f"f{j}" for j in range(6)]), y


@pytest.fixture(scope="module")
def fitted(rows):
    return codec().fit(rows[0])


# --- processes and threads -----------------------------------------------------------------------


def test_pickle_and_file_across_processes(rows, fitted, tmp_path):
    X = rows[0]
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(fitted))
    save(fitted, tmp_path / "model.safetensors")
    X.to_pickle(tmp_path / "X.pickle")
    code = (
        "import pickle, sys, numpy, pandas, adaptive_vq\n"
        "X = pandas.read_pickle('X.pickle')\n"
        "one = pickle.load(open('model.pickle', 'rb'))\n"
        "two = adaptive_vq.load('model.safetensors')\n"
        "numpy.savez('codes.npz', one=one.transform(X), two=two.transform(X))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    with np.load(tmp_path / "codes.npz") as codes:
        assert_array_equal(codes["one"], fitted.transform(X))
        assert_array_equal(codes["two"], fitted.transform(X))


def test_transform_in_many_threads(rows, fitted):
    X = rows[0]
    expected = fitted.transform(X)
    chunks = [X[i : i + 40] for i in range(0, 120, 40)] * 8
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(fitted.transform, chunks))
        decoded = list(pool.map(fitted.inverse_transform, codes))
    for k, part in enumerate(codes):
        start = 40 * (k % 3)
        assert_array_equal(part, expected[start : start + 40])
        assert_array_equal(decoded[k], fitted.inverse_transform(part))


def test_fits_side_by_side_in_threads(rows):
    X = rows[0].to_numpy()
    expected = codec().fit_transform(X)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: codec().fit_transform(X), range(3)))
    for codes in found:
        assert_array_equal(codes, expected)


def test_fits_side_by_side_leave_the_number_of_threads(rows, threads):
    X = rows[0].to_numpy()
    threads(2)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: codec().fit(X), range(3)))
    assert torch.get_num_threads() == 2
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 2


# --- output --------------------------------------------------------------------------------------


@pytest.mark.parametrize("encode", ["ordinal", "onehot", "token", "embedding"])
@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_every_form_of_codes_in_every_frame(rows, encode, kind):
    X = rows[0]
    vq = unmeasured(encode=encode, sparse_output=False).fit(X)
    plain = vq.transform(X)
    framed = vq.set_output(transform=kind).transform(X)
    assert isinstance(framed, {"pandas": pd.DataFrame, "polars": pl.DataFrame}[kind])
    assert list(framed.columns) == list(vq.get_feature_names_out())
    assert_array_equal(framed.to_numpy(), plain)
    assert_array_equal(vq.inverse_transform(framed), vq.inverse_transform(plain))


# --- meta-estimators -----------------------------------------------------------------------------


def classifier():
    return make_pipeline(unmeasured(encode="onehot"), LogisticRegression())


def test_calibration_on_codes(rows):
    X, y = rows
    calibrated = CalibratedClassifierCV(classifier(), cv=2).fit(X, y)
    assert calibrated.predict_proba(X).shape == (120, 2)
    assert calibrated.score(X, y) > 0.9


def test_calibration_of_a_frozen_pipeline(rows):
    X, y = rows
    frozen = FrozenEstimator(classifier().fit(X, y))
    assert CalibratedClassifierCV(frozen).fit(X, y).score(X, y) > 0.9


def test_stacking_and_voting_on_codes(rows):
    X, y = rows
    trees = make_pipeline(unmeasured(), HistGradientBoostingClassifier(max_iter=5))
    members = [("linear", classifier()), ("trees", trees)]
    stacked = StackingClassifier(members, LogisticRegression(), cv=2).fit(X, y)
    assert stacked.score(X, y) > 0.9
    assert VotingClassifier(members, voting="soft").fit(X, y).score(X, y) > 0.9


def test_column_transformer_and_union(rows):
    X, y = rows
    both = ColumnTransformer(
        [
            ("codes", unmeasured(), make_column_selector("f[0-2]")),
            ("plain", StandardScaler(), ["f3", "f4"]),
        ],
        remainder="passthrough",
    ).set_output(transform="pandas")
    out = both.fit_transform(X)
    assert out.columns[0].startswith("codes__cluster_1__L0")
    assert out.columns[-1] == "remainder__f5"
    alone = unmeasured().fit_transform(X[["f0", "f1", "f2"]])
    assert_array_equal(out.filter(like="codes__"), alone)
    union = FeatureUnion([("codes", unmeasured()), ("scaled", StandardScaler())])
    assert make_pipeline(union, LogisticRegression()).fit(X, y).score(X, y) > 0.9


def test_codes_of_the_target(rows):
    X = rows[0]
    around = TransformedTargetRegressor(Ridge(), transformer=unmeasured(encode="embedding"))
    with pytest.warns(UserWarning, match="not strictly inverse"):
        around.fit(X, X[["f0", "f1"]].to_numpy())
    assert np.isfinite(around.predict(X)).all()


@pytest.mark.parametrize("routing", [False, True])
def test_cross_validation_with_routing(rows, routing):
    X, y = rows
    weight = np.linspace(0.5, 1.5, 120)
    with sklearn.config_context(enable_metadata_routing=routing):
        steps = AdaptiveRatioSelector("uniform", bits=12), codec(bits=None, encode="onehot")
        last = LogisticRegression()
        if routing:
            last.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
            for step in steps:  # rows count alike in the codec
                step.set_fit_request(sample_weight=False)
        key = "sample_weight" if routing else "logisticregression__sample_weight"
        pipe = make_pipeline(*steps, last)
        found = cross_validate(pipe, X, y, cv=2, params={key: weight})
    assert found["test_score"].min() > 0.9


def test_scores_and_curves_of_the_codec_itself(rows):
    X = rows[0]
    sizes, _, test = learning_curve(unmeasured(), X, None, cv=2, train_sizes=[0.5, 1.0])
    assert sizes.tolist() == [30, 60]
    assert (test > 0.5).all()
    assert cross_val_predict(classifier(), X, rows[1], cv=2).shape == (120,)


def test_pictures_of_estimators_show_the_parameters(rows, fitted):
    for estimator in (codec(), fitted, classifier().fit(*rows), FeatureCharacterizer()):
        html = estimator_html_repr(estimator)
        assert type(estimator).__name__ in html
        assert "<" in html
    assert "beam_width" in estimator_html_repr(codec())


# --- types for those who use it ------------------------------------------------------------------

SNIPPET = """
import numpy as np
from adaptive_vq import AdaptiveRatioSelector, HierarchicalVQVAE, diagnose, load, save

X = np.zeros((10, 2))
vq: HierarchicalVQVAE = HierarchicalVQVAE(AdaptiveRatioSelector("balanced", bits=64)).fit(X)
quality: float = vq.score(X)
bits: dict[str, list[int]] = vq.bits_
save(vq, "model.safetensors")
again = load("model.safetensors")
report: str = diagnose(vq, X).to_json()
"""


def test_a_user_with_mypy_gets_types(tmp_path):
    (tmp_path / "good.py").write_text(SNIPPET)
    (tmp_path / "bad.py").write_text(
        SNIPPET + "HierarchicalVQVAE(bitz=3)\nwrong: str = vq.score(X)\n"
    )
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = true\n[mypy-sklearn.*,skorch.*]\nignore_missing_imports = true\n"
        # None of its types are met by those who use this; to read them takes most of the time.
        "[mypy-torch.*]\nfollow_imports = skip\n"
        # As of any installed package, what mypy would say of our own source is not shown.
        "[mypy-adaptive_vq.*]\nfollow_imports = silent\n"
    )
    cache = ROOT / ".mypy_cache" / "of_users"
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(cache), "--output", "json"]
    found = subprocess.run(
        [*command, "good.py", "bad.py"],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    told = [json.loads(line) for line in found.stdout.splitlines()]
    assert [(one["file"], one["code"]) for one in told if one["severity"] == "error"] == [
        ("bad.py", "call-arg"),
        ("bad.py", "assignment"),
    ]
