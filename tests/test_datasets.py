import pickle
import subprocess
import sys
from itertools import chain

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kurtosis

import adaptive_vq
from adaptive_vq.datasets import make_feature_families, make_gaussian_table

SPECTRA = ["iid", "ar1", "power", "blocks"]


@pytest.fixture(scope="module")
def families():
    return make_feature_families(missing=0)


def members(table):
    return list(chain.from_iterable(table.categories.values()))


def family_correlations(table):
    """Mean |rank correlation| between families; twins, one-hot and constant columns aside."""
    aside = ("_again", "version", "floor")
    names = [c for c in table.data if not c.endswith(aside) and "kind" not in c]
    ranks = table.data[names].corr("spearman").abs().to_numpy(copy=True)
    np.fill_diagonal(ranks, np.nan)
    family = [c.split("__")[0] for c in names]
    ranks = pd.DataFrame(ranks, family, family)
    return ranks.T.groupby(level=0).mean().T.groupby(level=0).mean()


class TestFeatureFamilies:
    def test_categories_partition_the_columns_and_name_them(self, families):
        assert len(families.categories) == 7
        assert members(families) == families.feature_names
        assert list(families.data.columns) == families.feature_names
        assert len(set(families.feature_names)) == families.data.shape[1] == 121
        for name, columns in families.categories.items():
            assert all(column.startswith(f"{name}__") for column in columns)

    def test_families_hang_together_more_than_with_any_other(self, families):
        correlations = family_correlations(families)
        assert (correlations.idxmax() == correlations.columns).all()

    def test_shared_factors_cross_the_families(self, families):
        pairs = ("temporal", ["spatial", "spectral", "summary"])
        alone = make_feature_families(shared=0, missing=0)
        assert (family_correlations(alone).loc[pairs] < 0.02).all()
        assert (family_correlations(families).loc[pairs] > 0.1).all()

    def test_nothing_but_shared_factors_is_legal(self):
        assert np.isfinite(make_feature_families(50, shared=1, missing=0).data.to_numpy()).all()

    def test_difficulty_differs_and_describes_the_table(self, families):
        difficulty = families.difficulty
        assert list(difficulty.index) == list(families.categories)
        assert difficulty["n_columns"].to_dict() == {
            name: len(columns) for name, columns in families.categories.items()
        }
        assert difficulty["gaussian_bits"].max() > 4 * difficulty["gaussian_bits"].min()
        # The series has plain columns, so the truth can be measured on them.
        steps = families.data.filter(like="temporal__step")
        spectrum = np.linalg.eigvalsh(np.corrcoef(steps.T))
        measured = spectrum.sum() ** 2 / (spectrum**2).sum()
        assert measured == pytest.approx(
            difficulty.loc["temporal", "effective_dimension"], rel=0.05
        )

    def test_has_the_nuisances_of_real_tables(self, families):
        data = families.data
        deviation = data.std()
        assert deviation["initial__version"] == 0
        assert 0 < deviation["summary__floor"] < 1e-10
        np.testing.assert_allclose(
            data["temporal__first_step_again"], 1000 * data["temporal__step_00"]
        )
        np.testing.assert_allclose(data["spectral__phase_again"], 1000 * data["spectral__phase_00"])
        scales = deviation.filter(like="summary__").drop("summary__floor")
        assert scales.min() < 1e-5
        assert scales.max() > 1e5 / 2
        assert kurtosis(data.filter(like="summary__tail")).max() > 100

    def test_has_discrete_columns(self, families):
        data = families.data
        kind = data.filter(like="initial__kind")
        assert (kind.sum(axis=1) == 1).all()
        assert kind.mean().between(0.2, 0.3).all()
        assert (data.filter(like="events__burst") == 0).mean().between(0.85, 0.92).all()
        assert set(data["events__alarm"].unique()) == {0.0, 1.0}
        assert 0 < data["events__alarm"].mean() < 0.005
        counts = data.filter(like="events__count").to_numpy()
        assert (counts == counts.astype(int)).all()
        assert (counts >= 0).all()

    @pytest.mark.parametrize("missing", [0.02, 0.3])
    def test_missing_cells_are_as_many_as_asked_and_leave_the_others(self, families, missing):
        holed = make_feature_families(missing=missing)
        holes = holed.data.isna()
        assert holes.to_numpy().mean() == pytest.approx(missing, rel=0.1)
        pd.testing.assert_frame_equal(holed.data, families.data.mask(holes))
        whole = holes[holed.categories["spectral"]].all(axis=1).mean()
        assert whole == pytest.approx(1 - np.sqrt(1 - missing), rel=0.25)

    def test_seed_decides_everything(self):
        first, again = (
            make_feature_families(40, random_state=3),
            make_feature_families(40, random_state=3),
        )
        pd.testing.assert_frame_equal(first.data, again.data)
        other = make_feature_families(40, random_state=4)
        assert not np.allclose(first.data.fillna(0), other.data.fillna(0))

    def test_structure_does_not_depend_on_the_number_of_rows(self):
        pd.testing.assert_frame_equal(
            make_feature_families(5).difficulty, make_feature_families(50).difficulty
        )

    @settings(max_examples=10)
    @given(
        n=st.integers(1, 30),
        shared=st.floats(0, 1),
        missing=st.floats(0, 0.99),
        seed=st.integers(0, 99),
    )
    def test_any_legal_parameters_give_a_finite_table(self, n, shared, missing, seed):
        table = make_feature_families(n, shared=shared, missing=missing, random_state=seed)
        assert table.data.shape == (n, 121)
        assert not np.isinf(table.data.to_numpy()).any()
        assert np.isfinite(table.difficulty.to_numpy()).all()

    @pytest.mark.parametrize(
        ("parameters", "error"),
        [
            ({"n_samples": 0}, ValueError),
            ({"n_samples": 10.5}, TypeError),
            ({"shared": 1.5}, ValueError),
            ({"missing": 1}, ValueError),
            ({"missing": -0.1}, ValueError),
        ],
    )
    def test_refuses_by_name(self, parameters, error):
        with pytest.raises(error, match=next(iter(parameters))):
            make_feature_families(**parameters)


class TestGaussianTable:
    @pytest.mark.parametrize("spectrum", SPECTRA)
    def test_rows_follow_the_covariance(self, spectrum):
        table = make_gaussian_table(40_000, 24, spectrum=spectrum)
        assert np.trace(table.covariance) == pytest.approx(24)
        np.testing.assert_allclose(np.cov(table.data.T), table.covariance, atol=0.08)
        np.testing.assert_allclose(table.data.mean(), 0, atol=0.05)
        np.testing.assert_allclose(
            table.eigenvalues, np.linalg.eigvalsh(table.covariance)[::-1], atol=1e-10
        )

    def test_known_limits(self):
        iid = make_gaussian_table(2, 32)
        assert iid.distortion_rate(0) == 1
        assert iid.distortion_rate(32) == pytest.approx(0.25)
        # At high rate D = |S|**(1/d) * 2**(-2 R / d), and for AR(1) |S| = (1 - rho**2)**(d - 1).
        ar1 = make_gaussian_table(2, 32, spectrum="ar1", rho=0.8)
        assert ar1.distortion_rate(96) == pytest.approx(0.36 ** (31 / 32) * 2**-6)
        power = make_gaussian_table(2, 64, spectrum="power")
        np.testing.assert_allclose(power.eigenvalues[0] / power.eigenvalues, np.arange(1, 65))

    def test_rho_next_to_one_gives_a_finite_table(self):
        # The smallest eigenvalues are rounding, of either sign.
        table = make_gaussian_table(10, 200, spectrum="ar1", rho=1 - 1e-15)
        assert np.isfinite(table.data).all(axis=None)
        assert (table.eigenvalues >= 0).all()
        assert table.distortion_rate(8) == pytest.approx(2**-16, rel=1e-3)

    def test_rho_defaults_to_nine_tenths(self):
        table = make_gaussian_table(2, 5, spectrum="ar1")
        assert table.covariance[0, 1] == pytest.approx(0.9)
        assert table.covariance[0, 4] == pytest.approx(0.9**4)

    @settings(max_examples=25)
    @given(
        d=st.integers(12, 40),
        spectrum=st.sampled_from(SPECTRA),
        bits=st.lists(st.floats(0, 500), min_size=2, max_size=5),
    )
    def test_limit_falls_with_bits_and_no_source_is_harder_than_iid(self, d, spectrum, bits):
        table = make_gaussian_table(1, d, spectrum=spectrum)
        bits = np.sort(bits)
        limit = table.distortion_rate(bits)
        assert limit.shape == bits.shape
        assert (np.diff(limit) <= 1e-12).all()
        assert (limit <= 2.0 ** (-2 * bits / d) * (1 + 1e-9)).all()

    @pytest.mark.parametrize("d", [12, 17, 48])
    def test_blocks_are_independent_shuffled_and_100_to_1(self, d):
        table = make_gaussian_table(2, d, spectrum="blocks")
        covariance = pd.DataFrame(table.covariance, table.feature_names, table.feature_names)
        assert list(table.categories) == [f"block_{i}" for i in range(1, 7)]
        assert sorted(members(table)) == sorted(table.feature_names)
        assert members(table) != table.feature_names
        difficulty = []
        for columns in table.categories.values():
            rest = [c for c in table.feature_names if c not in columns]
            assert (covariance.loc[columns, rest] == 0).all(axis=None)
            determinant = np.linalg.det(covariance.loc[columns, columns])
            difficulty.append(determinant ** (1 / len(columns)))
        np.testing.assert_allclose(difficulty, np.logspace(0, -2, 6))
        np.testing.assert_allclose(np.diag(covariance), 1)

    @pytest.mark.parametrize("spectrum", ["iid", "ar1", "power"])
    def test_other_spectra_are_one_category(self, spectrum):
        table = make_gaussian_table(2, 3, spectrum=spectrum)
        assert table.categories == {"all": ["x0", "x1", "x2"]}

    def test_one_column(self):
        for spectrum in ("iid", "ar1", "power"):
            table = make_gaussian_table(3, 1, spectrum=spectrum)
            assert table.data.shape == (3, 1)
            assert table.distortion_rate(1) == pytest.approx(0.25)

    def test_covariance_does_not_depend_on_the_number_of_rows(self):
        for spectrum in SPECTRA:
            few, many = (make_gaussian_table(n, 12, spectrum=spectrum) for n in (1, 9))
            np.testing.assert_array_equal(few.covariance, many.covariance)

    def test_seed_decides_everything(self):
        first, again = (make_gaussian_table(9, 4, random_state=1).data for _ in range(2))
        pd.testing.assert_frame_equal(first, again)
        assert not np.allclose(first, make_gaussian_table(9, 4, random_state=2).data)

    def test_pickles_with_its_limit(self):
        table = pickle.loads(pickle.dumps(make_gaussian_table(2, 12, spectrum="blocks")))
        assert table.distortion_rate(0) == pytest.approx(1)

    @pytest.mark.parametrize(
        ("parameters", "error", "message"),
        [
            ({"n_samples": 0}, ValueError, "n_samples"),
            ({"n_features": 0}, ValueError, "n_features"),
            ({"n_features": 11, "spectrum": "blocks"}, ValueError, "n_features >= 12"),
            ({"spectrum": "flat"}, ValueError, "spectrum must be one of .*'flat'"),
            ({"spectrum": "iid", "rho": 0.5}, ValueError, "rho=0.5 has no effect"),
            ({"spectrum": "ar1", "rho": 1.0}, ValueError, "rho"),
            ({"spectrum": "ar1", "rho": "high"}, TypeError, "rho"),
        ],
    )
    def test_refuses_by_name(self, parameters, error, message):
        with pytest.raises(error, match=message):
            make_gaussian_table(**parameters)


class TestPackage:
    def test_import_loads_nothing_heavy(self):
        heavy = ["torch", "skorch", "matplotlib", "typer", "dask", "pyarrow", "pandas", "sklearn"]
        program = f"import sys, adaptive_vq; print([m for m in {heavy} if m in sys.modules])"
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert (result.stdout.strip(), result.stderr) == ("[]", "")

    def test_torch_is_loaded_by_no_name(self):
        program = "import sys; from adaptive_vq import *; print('torch' in sys.modules)"
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert (result.stdout.strip(), result.stderr) == ("False", "")

    def test_unknown_name(self):
        with pytest.raises(AttributeError, match="'adaptive_vq' has no attribute 'nothing'"):
            _ = adaptive_vq.nothing

    def test_public_names_are_listed(self):
        assert set(adaptive_vq.__all__) <= set(dir(adaptive_vq))


def test_small_tables_agree(small_frame, small_polars):
    assert list(small_polars.columns) == list(small_frame.columns)
    np.testing.assert_array_equal(small_polars.to_numpy(), small_frame.to_numpy())
    assert small_frame.isna().to_numpy().sum() == 7


@pytest.mark.parametrize("name", ["online_news", "spambase", "glove50_small"])
def test_real_tables_are_numeric(real_table, name):
    table = real_table(name)
    assert table.data.shape[0] > 1000
    assert all(np.issubdtype(dtype, np.number) for dtype in table.data.dtypes)
    assert table.families is None or len(table.families) == table.data.shape[1]
