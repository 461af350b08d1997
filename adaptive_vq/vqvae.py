"""The hierarchical VQ-VAE: trains the codec of a plan and turns rows into codes and back."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context, clone
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from adaptive_vq.annotations import annotation
from adaptive_vq.codes import CodeTable, code_names
from adaptive_vq.metrics import Evaluation, reconstruction_nmse
from adaptive_vq.missing import ConditionalMeanImputer
from adaptive_vq.resolution import refuse_lost_note, resolve_plan
from adaptive_vq.tables import check_table, column_names, like_training
from adaptive_vq.units import CodecUnits

if TYPE_CHECKING:
    from adaptive_vq.modules import CodecModule
    from adaptive_vq.plan import Plan

__all__ = ["HierarchicalVQVAE"]


class HierarchicalVQVAE(CallbackSupportMixin, TransformerMixin, BaseEstimator):
    """Codes of a few small integers per row, and the way back to the original units.

    Every category of columns gets residual codebooks on a few levels, coarse to fine, with sizes that follow from one
    budget of bits per row. Fitting starts from a classical codec (principal axes, residual k-means, joint linear
    decoding) and trains encoders and decoder with torch; what does not lower the error on rows kept aside is not kept.

    Parameters
    ----------
    compression_ratios : "auto", list, str, dict or AdaptiveRatioSelector, default="auto"
        Ratios per level: one list or ``"0.5:1:1.5"`` for all categories, a dict with one per category, a selector to
        be fitted here, or ``"auto"``: the plan of an `AdaptiveRatioSelector` earlier in the pipeline, else of a
        selector with `auto_compression_strategy`.
    auto_compression_strategy : str, list or callable, default="balanced"
        Strategy of the selector fitted here where no earlier step has made a plan.
    bits : int, default=None
        Budget in bits per row. None follows the plan (one bit per column, at least 16, at most 128).
    codebook_sizes : "auto", int, list or dict, default="auto"
        Codewords per codebook: for all, per level, or per category (an int or a list per level). ``"auto"`` follows
        from the bits.
    n_levels : int, default=None
        Levels; None follows the plan (3).
    context : {"local", "joint"}, default="local"
        Whether the codes of a category depend on its own columns only, or are refined against the joint decoder's
        error in all columns.
    cleaner : FeatureCleaner, default=None
        Fitted here on the training rows and applied to all rows.
    encoders : dict of str to torch.nn.Module, default=None
        Own encoder body per category: takes its columns (n, k) in codec units, returns (n, any width).
    scaler : {"auto", "standard", "robust", "quantile"}, None or transformer, default="auto"
        How columns become comparable; ``"auto"`` follows an earlier step, else ``"standard"``.
    clip : tuple of (float, float), None or "auto", default="auto"
        Training percentiles at which columns are capped; ``"auto"`` follows an earlier step, else ``(0.5, 99.5)``.
    encode : {"ordinal", "onehot", "token", "embedding"}, default="ordinal"
        What `transform` returns: code numbers, one column per codeword, numbers unique over all codebooks, or the
        codewords themselves.
    sparse_output : bool, default=True
        Whether ``encode="onehot"`` gives a sparse CSR matrix.
    group_embedding_dim : int, default=256
        Hidden units of the joint decoder's learned correction.
    group_hidden_dim : int, default=128
        Hidden units of each category's encoder.
    dropout : float, default=0.1
        Dropout in encoders and decoder while training.
    commitment_weight : float, default=0.25
        Weight of the distance between latents and codewords in the loss.
    ema_decay : float, default=0.99
        Decay of the moving averages that the codewords follow.
    beam_width : int, default=16
        Candidates kept by the search for codes; 1 is greedy.
    max_epochs : int, default=12
        Most epochs of training; 0 keeps the classical start.
    batch_size : int, default=256
        Rows per training step.
    lr : float, default=1e-3
        Learning rate of Adam.
    early_stopping : bool, default=True
        Whether rows are kept aside to choose smoothing, ridges and the best epoch.
    validation_fraction : float, default=0.1
        Share of the training rows kept aside.
    n_iter_no_change : int, default=2
        Epochs without improvement after which training stops.
    warm_start : bool, default=False
        Whether `fit` goes on from the codebooks and weights of the last fit instead of a new start.
    random_state : int, RandomState instance or None, default=None
        Seed of all random choices. None means a fixed choice.

    Attributes
    ----------
    categories_ : dict of str to ndarray of int64
        Column positions per category.
    ratios_ : dict of str to list of float
        Compression ratio per level.
    bits_ : dict of str to list of int
        Whole bits per level, after freed bits have been offered again.
    decisions_ : pandas.DataFrame
        One row per category: scores, ratios, bits, predicted NMSE, a reason, and the bits really spent.
    codebooks_ : dict of str to ndarray of shape (K, width)
        Codewords in latent coordinates per code column, float32.
    n_bits_ : float
        Bits per row really spent: sum of log2 of the codebook sizes.
    history_ : list of dict
        One record per epoch.
    n_iter_ : int
        Epochs that the kept weights were trained for.
    units_ : CodecUnits
        Caps and scaling.
    n_capped_ : ndarray of shape (n_features,)
        Training cells capped per column.
    cleaner_ : FeatureCleaner
        Only with `cleaner`.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    See Also
    --------
    AdaptiveRatioSelector : Makes the plan.
    FeatureCharacterizer : Finds the categories.

    References
    ----------
    van den Oord, Vinyals and Kavukcuoglu (2017), "Neural discrete representation learning".
    Babenko and Lempitsky (2014), "Additive quantization for extreme vector compression".

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq import HierarchicalVQVAE
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat(rng.normal(size=(200, 2)), 3, axis=1) + 0.1 * rng.normal(size=(200, 6))
    >>> vq = HierarchicalVQVAE(bits=16, random_state=0).fit(X)
    >>> codes = vq.transform(X)
    >>> codes.dtype, vq.inverse_transform(codes).shape, vq.score(X) > 0.9
    (dtype('uint8'), (200, 6), True)
    """

    _parameter_constraints: dict[str, Any] = {
        "compression_ratios": [str, "array-like", dict, HasMethods(["fit", "transform"])],
        "auto_compression_strategy": [str, list, tuple, callable],
        "bits": [Interval(Integral, 1, None, closed="left"), None],
        "codebook_sizes": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
            list,
            tuple,
            dict,
        ],
        "n_levels": [Interval(Integral, 1, None, closed="left"), None],
        "context": [StrOptions({"local", "joint"})],
        "cleaner": [HasMethods(["fit", "transform", "inverse_transform"]), None],
        "encoders": [dict, None],
        "scaler": [
            StrOptions({"auto", "standard", "robust", "quantile"}),
            HasMethods(["fit", "transform", "inverse_transform"]),
            None,
        ],
        "clip": [StrOptions({"auto"}), "array-like", None],
        "encode": [StrOptions({"ordinal", "onehot", "token", "embedding"})],
        "sparse_output": ["boolean"],
        "group_embedding_dim": [Interval(Integral, 1, None, closed="left")],
        "group_hidden_dim": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "commitment_weight": [Interval(Real, 0, None, closed="left")],
        "ema_decay": [Interval(Real, 0, 1, closed="both")],
        "beam_width": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        compression_ratios: Any = "auto",
        *,
        auto_compression_strategy: Any = "balanced",
        bits: int | None = None,
        codebook_sizes: Any = "auto",
        n_levels: int | None = None,
        context: str = "local",
        cleaner: Any = None,
        encoders: Mapping[str, Any] | None = None,
        scaler: Any = "auto",
        clip: Any = "auto",
        encode: str = "ordinal",
        sparse_output: bool = True,
        group_embedding_dim: int = 256,
        group_hidden_dim: int = 128,
        dropout: float = 0.1,
        commitment_weight: float = 0.25,
        ema_decay: float = 0.99,
        beam_width: int = 16,
        max_epochs: int = 12,
        batch_size: int = 256,
        lr: float = 1e-3,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 2,
        warm_start: bool = False,
        random_state: Any = None,
    ) -> None:
        self.compression_ratios = compression_ratios
        self.auto_compression_strategy = auto_compression_strategy
        self.bits = bits
        self.codebook_sizes = codebook_sizes
        self.n_levels = n_levels
        self.context = context
        self.cleaner = cleaner
        self.encoders = encoders
        self.scaler = scaler
        self.clip = clip
        self.encode = encode
        self.sparse_output = sparse_output
        self.group_embedding_dim = group_embedding_dim
        self.group_hidden_dim = group_hidden_dim
        self.dropout = dropout
        self.commitment_weight = commitment_weight
        self.ema_decay = ema_decay
        self.beam_width = beam_width
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Plan, start and train the codec.

        Parameters
        ----------
        X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
            At least two rows; NaN marks a missing cell.
        y : None
            Ignored.

        Returns
        -------
        HierarchicalVQVAE
            The fitted estimator.

        Raises
        ------
        ValueError
            If the table is unusable, a parameter is out of range or contradicts an earlier step, or the plan of an
            earlier step was lost on the way.
        """
        from adaptive_vq.estimation import fit_estimator

        context = self._init_callback_context(max_subtasks=self.max_epochs or None)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        table = check_table(self, X, reset=True, ensure_min_samples=2)
        note = annotation(X)
        refuse_lost_note(context, note)
        inner, table = self._clean(X, table, note)
        plan, scaler, clip, _ = resolve_plan(self, inner, table, note)
        self.units_ = CodecUnits(scaler, clip).fit(table, names=self._inner_names())
        self._warn_of_empty_columns()
        self.n_capped_ = self.units_.count_capped(table)
        Z = self.units_.to_codec(table)
        self._imputer = ConditionalMeanImputer().fit(Z, plan.categories)
        fit_estimator(self, plan, self._imputer.transform(Z), ~np.isnan(Z), context, X)
        context.call_on_fit_task_end(
            estimator=self, X=X, y=y, reconstruction_attributes=self._fitted_attributes
        )
        return self

    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Fit on the first chunk; later chunks move codewords and decoder only.

        Parameters
        ----------
        X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        HierarchicalVQVAE
            Units, categories, bits and codebook sizes stay as the first call fixed them.
        """
        from adaptive_vq.estimation import update_estimator

        if not hasattr(self, "codebooks_"):
            return self.fit(X)
        Z, observed = self._codec_rows(X)
        update_estimator(self, Z, observed)
        return self

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
        check_is_fitted(self)
        codes = self._codes(self._codec_rows(X)[0])
        return self._code_table().encode(codes, self.encode, self.sparse_output)

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
            Rows in original units; a DataFrame if the codec was fitted on named columns.

        Raises
        ------
        ValueError
            If the width is wrong or a code is out of range.
        """
        check_is_fitted(self)
        ordinal, levels = self._code_table().decode(
            codes, self.encode, n_levels, self._layout["n_levels"]
        )
        return like_training(self, self._to_table(self._decode(ordinal, levels)))

    def reconstruct(self, X: ArrayLike) -> Any:
        """Encode and decode rows: what survives of them.

        Parameters
        ----------
        X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_features)
            Every cell filled, in original units.
        """
        check_is_fitted(self)
        codes = self._codes(self._codec_rows(X)[0])
        return like_training(self, self._to_table(self._decode(codes, self._layout["n_levels"])))

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Quality: 1 - NMSE over the observed cells of the rows as they are, in codec units.

        Parameters
        ----------
        X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        float
            1 for a perfect reconstruction, 0 for the training mean; below 0 for worse.
        """
        found = self._evaluate(X)
        return float(
            1.0 - reconstruction_nmse(found.target, found.output, reference=found.reference)
        )

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
        check_is_fitted(self)
        return np.asarray(self._code_table().columns(self.encode), dtype=object)

    def _evaluate(self, X: ArrayLike) -> Evaluation:
        """Targets, reconstruction and codes of rows in one pass, in codec units."""
        check_is_fitted(self)
        table = self._inner(X)
        Z = self._imputer.transform(self.units_.to_codec(table))
        codes = self._codes(Z)
        table_of_codes = self._code_table()
        owner = [c["name"] for c in self._layout["categories"] for _ in c["levels"]]
        books = {
            name: (owner[j], table_of_codes.levels[j], table_of_codes.sizes[j])
            for j, name in enumerate(table_of_codes.names)
        }
        return Evaluation(
            target=self.units_.to_codec(table, cap=False).astype(np.float64),
            output=self._decode(codes, self._layout["n_levels"]).astype(np.float64),
            reference=self.units_.reference_,
            codes=codes,
            categories=self.categories_,
            codebooks=books,
        )

    def _clean(
        self, X: Any, table: NDArray[np.float64], note: Any
    ) -> tuple[Any, NDArray[np.float64]]:
        """Table that the codec works on: cleaned where a cleaner is given."""
        self.__dict__.pop("cleaner_", None)
        if self.cleaner is None:
            return X, table
        if note is not None:
            raise ValueError(
                "HierarchicalVQVAE(cleaner=...) drops columns after an earlier step has planned for them: put the "
                "FeatureCleaner in front of FeatureCharacterizer instead."
            )
        self.cleaner_ = clone(self.cleaner).fit(X)
        inner = self.cleaner_.transform(X)
        return inner, np.ascontiguousarray(np.asarray(inner, dtype=np.float64))

    def _inner(self, X: Any) -> NDArray[np.float64]:
        table = check_table(self, X, reset=False)
        if self.cleaner is None:
            return table
        return np.ascontiguousarray(np.asarray(self.cleaner_.transform(X), dtype=np.float64))

    def _inner_names(self) -> list[str]:
        if self.cleaner is None:
            return column_names(self)
        return [str(name) for name in self.cleaner_.get_feature_names_out()]

    def _codec_rows(self, X: Any) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        Z = self.units_.to_codec(self._inner(X))
        return self._imputer.transform(Z), ~np.isnan(Z)

    def _to_table(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        table = self.units_.from_codec(Z)
        if self.cleaner is not None:
            table = np.nan_to_num(
                np.asarray(self.cleaner_.inverse_transform(table), dtype=np.float64)
            )
        return table

    def _warn_of_empty_columns(self) -> None:
        empty = np.flatnonzero(self.units_.empty_)
        if len(empty):
            names = [self._inner_names()[j] for j in empty]
            warnings.warn(
                f"Columns {names[:5]} have no observed cell in the training rows: they spend no bits and decode to 0.",
                UserWarning,
                stacklevel=4,
            )

    def _module(self) -> CodecModule:
        from adaptive_vq.estimation import module_of

        return module_of(self)

    def _codes(self, Z: NDArray[np.float32]) -> NDArray[np.int64]:
        from adaptive_vq.estimation import encode_rows

        return encode_rows(self._module(), Z, self.beam_width, self.context)

    def _decode(self, codes: NDArray[np.int64], n_levels: int) -> NDArray[np.float32]:
        from adaptive_vq.estimation import decode_rows

        return decode_rows(self._module(), codes, n_levels)

    def _code_table(self) -> CodeTable:
        categories = [(c["name"], c["levels"]) for c in self._layout["categories"]]
        levels = [level for _, of_category in categories for level in of_category]
        return CodeTable(code_names(categories), levels, list(self.codebooks_.values()))

    def _fitted_attributes(self) -> dict[str, Any]:
        return {
            key: value
            for key, value in vars(self).items()
            if key.endswith("_") and not key.startswith("__")
        }

    def _keep_plan(self, plan: Plan) -> None:
        self.categories_ = plan.categories
        self.ratios_ = plan.ratios
        self.bits_ = plan.bits
        self.decisions_: pd.DataFrame = plan.decisions_frame()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags
