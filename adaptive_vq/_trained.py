"""What a trained codec does: rows to codes, codes to rows, and figures on both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin
from sklearn.utils import Tags
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_is_fitted

from adaptive_vq._column_reports import warn_of_far_cells
from adaptive_vq._foreign_cells import without_index
from adaptive_vq._mean_rows import with_exact_means
from adaptive_vq._statistics import outside_limits, weighted_rows
from adaptive_vq.annotations import play_same_role
from adaptive_vq.cleaning import FeatureCleaner
from adaptive_vq.codes import CodeTable, code_names
from adaptive_vq.metrics import Evaluation, reconstruction_nmse
from adaptive_vq.missing import ConditionalMeanImputer
from adaptive_vq.tables import check_table, column_names, joined, like_training, row_chunks
from adaptive_vq.units import CodecUnits
from adaptive_vq.weights import rows_that_count

if TYPE_CHECKING:
    from adaptive_vq.modules import CodecModule

Categories = dict[str, NDArray[np.int64]]


class TrainedCodec(TransformerMixin):
    """Use of a fitted `HierarchicalVQVAE`; how it is fitted stands there.

    Split off so that each of the two can be read on its own. All state is numpy, so that a fitted
    estimator pickles, clones and travels like any other; its network is built where it is needed.
    """

    encode: str
    sparse_output: bool
    beam_width: int
    device: str
    context: str
    cleaner_: Any
    units_: CodecUnits
    categories_: Categories
    codebooks_: dict[str, NDArray[np.float32]]
    _imputer: ConditionalMeanImputer
    _layout: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        play_same_role(cls)

    def transform(self, X: ArrayLike) -> Any:
        """Encode rows.

        Parameters
        ----------
        X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
            Rows with the training columns; NaN marks a missing cell.

        Returns
        -------
        ndarray or csr_matrix of shape (n_samples, n_columns)
            Codes in the form of `encode`; ``get_feature_names_out`` names the columns.
        """
        self._check_usable()
        self._refuse_sparse_frame()
        table = self._code_table()
        return joined(
            [table.encode(codes, self.encode, self.sparse_output) for codes in self._codes_of(X)]
        )

    def inverse_transform(self, codes: Any, n_levels: int | None = None) -> Any:
        """Decode what `transform` of the same `encode` returned.

        Parameters
        ----------
        codes : array-like, sparse matrix or DataFrame of shape (n_samples, n_columns)
            All code columns, or only those of the first levels.
        n_levels : int, default=None
            Decode the first levels only; None uses all that are there.

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_features)
            Rows in original units; a DataFrame if the codec was fitted on columns with names, with
            the index of `codes` if these are a pandas DataFrame. As in scikit-learn only text is a
            name: of a frame whose columns are numbers the rows come back as an array.

        Raises
        ------
        ValueError
            If the width is wrong, columns are none of this codec's, or a code is out of range.
        """
        self._check_usable()
        table, n_all = self._code_table(), self._layout["n_levels"]
        found = (table.decode(c, self.encode, n_levels, n_all) for c in row_chunks(codes))
        return like_training(self, self._rows_of(found), codes)

    def reconstruct(self, X: ArrayLike) -> Any:
        """Encode and decode rows: what survives of them.

        Parameters
        ----------
        X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_features)
            Every cell filled, in original units; with the index of `X` if both are pandas
            DataFrames.
        """
        self._check_usable()
        n_levels = self._layout["n_levels"]
        found = ((codes, n_levels) for codes in self._codes_of(X))
        return like_training(self, self._rows_of(found), X)

    def score(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Quality: 1 - NMSE over the observed cells of the rows as they are, in codec units.

        What a `cleaner` drops is not among them, and what it fills counts as observed. Codecs that
        differ in `scaler`, `clip` or `column_weights` have other units: their scores do not say
        which is better, :func:`adaptive_vq.compare` does.

        Parameters
        ----------
        X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; one of weight 0 counts as no row, whatever stands in it.

        Returns
        -------
        float
            1 for a perfect reconstruction, 0 for the training mean; below 0 for worse. Of rows that
            never leave the training mean it is 1 if they are decoded to it, else ``-inf``.
        """
        self._check_usable()
        X, sample_weight = rows_that_count(X, sample_weight)
        found = self._evaluate(X)
        nmse = reconstruction_nmse(
            found.target, found.output, reference=found.reference, sample_weight=sample_weight
        )
        return float(1.0 - nmse)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Names of the code columns, such as ``cluster_1__L0``.

        Parameters
        ----------
        input_features : None
            Ignored; for compatibility.

        Returns
        -------
        ndarray of str
        """
        self._check_usable()
        return np.asarray(self._code_table().columns(self.encode), dtype=object)

    def _check_usable(self) -> None:
        """Refuse an estimator without fit, and parameters set since that may not be."""
        check_is_fitted(self, "codebooks_")
        self._validate_params()  # type: ignore[attr-defined]

    def _refuse_sparse_frame(self) -> None:
        container = _get_output_config("transform", self)["dense"]
        if self.encode == "onehot" and self.sparse_output and container != "default":
            raise ValueError(
                f"A {container} DataFrame cannot hold sparse codes: set sparse_output=False."
            )

    def _evaluate(self, X: ArrayLike) -> Evaluation:
        """Targets, reconstruction and codes of rows in one pass, in codec units."""
        self._check_usable()
        return self._evaluation(*self._inner_and_given(X))

    def _evaluation(self, table: NDArray[np.float64], given: NDArray[np.float64]) -> Evaluation:
        """Evaluate rows as `_inner_and_given` makes them."""
        Z = self.units_.to_codec(table)
        warn_of_far_cells(self.units_, Z)
        codes = self._codes(self._imputer.transform(Z))
        table_of_codes = self._code_table()
        owner = [c["name"] for c in self._layout["categories"] for _ in c["levels"]]
        books = {
            name: (owner[j], table_of_codes.levels[j], table_of_codes.sizes[j])
            for j, name in enumerate(table_of_codes.names)
        }
        return Evaluation(
            target=with_exact_means(self.units_.targets(given), self.units_),
            output=self.units_.without_rounding(self._decode(codes, self._layout["n_levels"])),
            reference=self.units_.reference_,
            codes=codes,
            categories=self.categories_,
            codebooks=books,
        )

    def _inner(self, X: Any) -> NDArray[np.float64]:
        return self._cleaned(X, check_table(self, X, reset=False))

    def _cleaned(self, X: Any, table: NDArray[np.float64]) -> NDArray[np.float64]:
        if not hasattr(self, "cleaner_"):
            return table
        return np.ascontiguousarray(
            np.asarray(self.cleaner_.transform(without_index(X)), dtype=np.float64)
        )

    def _inner_and_given(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Cells of `_inner`, and the same as they were before a `FeatureCleaner` capped them."""
        table = check_table(self, X, reset=False)
        inner = self._cleaned(X, table)
        return inner, self._given(table, inner)

    def _given(self, table: NDArray[np.float64], inner: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cells of `inner` as they were before a `FeatureCleaner` capped them."""
        cleaner = getattr(self, "cleaner_", None)
        if type(cleaner) is not FeatureCleaner:  # of others nothing is known
            return inner
        given = table[:, cleaner.kept_]
        return np.where(np.isnan(given), inner, given)

    def _count_capped(
        self,
        inner: NDArray[np.float64],
        given: NDArray[np.float64],
        sample_weight: ArrayLike | None = None,
    ) -> NDArray[np.int64]:
        """Count the cells of each column beyond the caps of the codec, or of its cleaner."""
        rows, weight = weighted_rows(inner, sample_weight)
        if given is inner:
            return self.units_.count_capped(rows, weight)
        cleaner, cells = self.cleaner_, weighted_rows(given, sample_weight)[0]
        caps = cleaner.lower_[cleaner.kept_], cleaner.upper_[cleaner.kept_]
        by_cleaner = outside_limits(cells, *caps) & ~np.isnan(rows)
        rest = self.units_.count_capped(np.where(by_cleaner, np.nan, rows), weight)
        mass = by_cleaner.sum(axis=0) if weight is None else np.rint(weight @ by_cleaner)
        return rest + mass.astype(np.int64)

    def _inner_names(self) -> list[str]:
        if not hasattr(self, "cleaner_"):
            return column_names(self)
        return [str(name) for name in self.cleaner_.get_feature_names_out()]

    def _codec_rows(self, X: Any) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        Z = self.units_.to_codec(self._inner(X))
        warn_of_far_cells(self.units_, Z)
        return self._imputer.transform(Z), ~np.isnan(Z)

    def _to_table(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        table = self.units_.from_codec(Z)
        if hasattr(self, "cleaner_"):
            table = np.nan_to_num(
                np.asarray(self.cleaner_.inverse_transform(table), dtype=np.float64)
            )
        return table

    def _codes_of(self, X: Any) -> Iterator[NDArray[np.int64]]:
        """Ordinal codes of a table, chunk by chunk."""
        from adaptive_vq.estimation import encode_rows

        module = self._module()
        for chunk in row_chunks(X):
            rows, _ = self._codec_rows(chunk)
            yield encode_rows(module, rows, self.beam_width, self.context)

    def _rows_of(self, codes: Iterable[tuple[NDArray[np.int64], int]]) -> NDArray[np.float64]:
        """Rows in original units of chunks of ordinal codes and the levels to decode."""
        from adaptive_vq.estimation import decode_rows

        module = self._module()
        return joined(
            [self._to_table(decode_rows(module, chunk, levels)) for chunk, levels in codes]
        )

    def _module(self) -> CodecModule:
        from adaptive_vq.estimation import working_module_of

        return working_module_of(self)

    def _codes(self, Z: NDArray[np.float32]) -> NDArray[np.int64]:
        from adaptive_vq.estimation import encode_rows

        return encode_rows(self._module(), Z, self.beam_width, self.context)

    def _decode(self, codes: NDArray[np.int64], n_levels: int) -> NDArray[np.float32]:
        from adaptive_vq.estimation import decode_rows

        return decode_rows(self._module(), codes, n_levels)

    def _fitted_attributes(self) -> dict[str, Any]:
        """Everything that fitting has set, for the estimators that callbacks look at."""
        parameters = self.get_params(deep=False)  # type: ignore[attr-defined]
        return {
            key: value
            for key, value in vars(self).items()
            if key not in parameters and not key.startswith(("_skl", "_callback", "_parent"))
        }

    def _code_table(self) -> CodeTable:
        categories = [(c["name"], c["levels"]) for c in self._layout["categories"]]
        levels = [level for _, of_category in categories for level in of_category]
        names = code_names(categories)
        spreads = [self.spreads_.get(name) for name in names]
        last = np.cumsum([len(of_category) for _, of_category in categories]) - 1
        # What the last codeword of a category leaves is coded by none.
        spreads = [None if j in last else spread for j, spread in enumerate(spreads)]
        return CodeTable(names, levels, list(self.codebooks_.values()), spreads)

    @property
    def spreads_(self) -> dict[str, NDArray[np.float32]]:
        """Spreads per code column: see `HierarchicalVQVAE`."""
        names = code_names([(c["name"], c["levels"]) for c in self._layout["categories"]])
        return {
            name: self._state[f"codebooks.{j}.spread"]
            for j, name in enumerate(names)
            if f"codebooks.{j}.spread" in self._state
        }

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags
