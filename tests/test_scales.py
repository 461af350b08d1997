"""Columns of any scale, constants among them, and scalers that cannot go back."""

import numpy as np
import pytest
from sklearn.preprocessing import FunctionTransformer

from adaptive_vq import HierarchicalVQVAE, compare, diagnose
from adaptive_vq.metrics import category_nmse, reconstruction_nmse
from quick import X, codec


@pytest.mark.parametrize(
    ("function", "inverse"), [(np.square, np.sqrt), (np.exp, np.log), (np.tanh, np.arctanh)]
)
def test_a_transformer_without_inverse_everywhere_gives_numbers(function, inverse):
    skewed = np.random.default_rng(0).gamma(0.5, size=(300, 6)) / 8
    scaler = FunctionTransformer(function, inverse, check_inverse=False)
    fitted = codec(bits=10, scaler=scaler).fit(skewed)
    assert np.isfinite(fitted.reconstruct(skewed)).all()


def test_a_transformer_that_cannot_go_back_is_named(cells):
    one_way = FunctionTransformer(np.exp, lambda Z: np.full(Z.shape, np.nan))
    fitted = codec(scaler=one_way.set_params(check_inverse=False)).fit(cells)
    with pytest.raises(ValueError, match="Column 'x0' has no inverse"):
        fitted.reconstruct(cells)


@pytest.mark.parametrize("factor", [1e-12, 1e-8, 1e8, 1e12])
def test_no_scaler_at_any_scale(cells, factor):
    table = np.column_stack([cells * factor, np.full(len(cells), 5e6 * factor)])
    fitted = codec(scaler=None).fit(table)
    assert fitted.score(table) > 0.95
    assert (fitted.reconstruct(table)[:, -1] == table[0, -1]).all()


@pytest.mark.parametrize("factor", [1e-20, 1e20])
def test_scales_that_float32_cannot_square_are_refused(cells, factor):
    with pytest.raises(ValueError, match="Column 'x0' has a spread that float32 cannot square"):
        codec(scaler=None).fit(cells * factor)


@pytest.mark.parametrize("constant", [123456789.0, 20231107.0, 1e-9])
def test_large_constants_have_no_error_without_a_scaler(cells, constant):
    table = cells.copy()
    table[:, 0] = constant
    fitted = codec(scaler=None).fit(table)
    assert fitted.score(table) > 0.98
    assert diagnose(fitted, table, embedding=None).columns["nmse"].iloc[0] == 0


@pytest.fixture(scope="module")
def fitted() -> HierarchicalVQVAE:
    return codec().fit(X)


@pytest.mark.parametrize(
    "inverse",
    [
        lambda z: z[:, :2],
        lambda z: np.hstack([z, z]),
        lambda z: z[:, 0],
        lambda z: z[:50],
        lambda z: None,
        lambda z: z.astype(str),
    ],
)
@pytest.mark.parametrize("checked", [True, False])  # by scikit-learn
def test_a_scaler_that_gives_another_table_back_is_named(inverse, checked):
    scaler = FunctionTransformer(lambda z: z, inverse, check_inverse=checked)
    with pytest.raises(ValueError, match=r"(?s)^scaler=FunctionTransformer\(.* must .*keep"):
        codec(scaler=scaler).fit(X)


@pytest.mark.parametrize("factor", [1e-120, 1e-150, 1e-160, 1e-170, 1e-300])
def test_categories_of_any_scale_have_the_error_they_have_alone(factor):
    scale = np.array([1.0, factor, factor])
    table, decoded = X[:, :3] * scale, (0.9 * X[:, :3] + 0.01) * scale
    found = category_nmse(table, decoded, {"large": [0], "small": [1, 2]})
    for name, columns in [("large", [0]), ("small", [1, 2])]:
        alone = reconstruction_nmse(table[:, columns], decoded[:, columns])
        assert found[name] == pytest.approx(alone, rel=1e-12)
    still = np.c_[X[:, :1], np.full(len(X), 3e-200)]
    assert category_nmse(still, still, {"large": [0], "still": [1]})["still"] == 0


@pytest.mark.parametrize("scaler", ["standard", "robust", None])
def test_errors_are_no_share_of_rounding(scaler):
    fitted = codec(scaler=scaler).fit(X + 3.0)
    mean = np.tile(fitted.units_.own_mean(), (5, 1))
    for still in (mean, mean.astype(np.float32), mean * (1 + 1e-15)):
        assert fitted.score(still) == -np.inf
        report = diagnose(fitted, still, embedding=None)
        assert report.summary["nmse"] == report.summary["nmse_original"] == np.inf
        assert "never leave the training mean" in report.notes["quality"]
        found = compare({"a": fitted, "b": fitted}, still, n_bootstrap=5).to_frame()
        assert np.isinf(found["nmse"]).all()
        assert found["nmse_over_best"].isna().all()
        found, _ = found.to_numpy(), report.to_html()
    some = X + 3.0
    some[:, :3] = mean[0, :3]  # a family of columns that was filled
    errors = diagnose(fitted, some, embedding=None).columns["nmse"]
    assert set(errors[:3]) <= {0.0, np.inf}
    assert (errors[3:] < 1).all()
    assert fitted.score(some) < 1
