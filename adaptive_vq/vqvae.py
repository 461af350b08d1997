"""The hierarchical VQ-VAE: trains the codec of a plan and turns rows into codes and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, _fit_context
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils.metadata_routing import UNUSED

from adaptive_vq._codec_constraints import CODEC_CONSTRAINTS
from adaptive_vq._column_reports import judge_rows_to_learn_from, report_training_columns
from adaptive_vq._fit_rows import clean_rows, kept_weights, rows_to_learn_from
from adaptive_vq._lost_notes import refuse_lost_note
from adaptive_vq._rollback import unchanged_on_failure
from adaptive_vq._statistics import weighted_rows
from adaptive_vq._trained import TrainedCodec
from adaptive_vq._training_rules import refuse_idle_parameters, refuse_small_batches
from adaptive_vq.annotations import annotation
from adaptive_vq.missing import ConditionalMeanImputer
from adaptive_vq.plan import Plan
from adaptive_vq.resolution import OWNER, resolve_plan
from adaptive_vq.tables import column_names
from adaptive_vq.units import CodecUnits
from adaptive_vq.weights import check_column_weights, learning_rows

__all__ = ["HierarchicalVQVAE"]


class HierarchicalVQVAE(CallbackSupportMixin, TrainedCodec, BaseEstimator):
    """Codes of a few small integers per row, and the way back to the original units.

    Every category of columns gets residual codebooks on a few levels, coarse to fine, with sizes
    that follow from one budget of bits per row. Fitting starts from a classical codec (principal
    axes, residual k-means, joint linear decoding) and trains encoders and decoder with torch; what
    does not lower the error on rows kept aside is not kept.

    Parameters
    ----------
    compression_ratios : "auto", list, str, dict or AdaptiveRatioSelector, default="auto"
        Ratios per level: one list or ``"0.5:1:1.5"`` for all categories, a dict with one per
        category, a selector to be fitted here, or ``"auto"``: the plan of an
        `AdaptiveRatioSelector` earlier in the pipeline, else of a selector with
        `auto_compression_strategy`. All others replace such a plan, with a warning.
    auto_compression_strategy : str, list or callable, default="rate_distortion"
        Strategy of the selector fitted here where no earlier step has made a plan. Beside such a
        step, or other `compression_ratios`, it has no effect, which a warning says.
    bits : int, default=None
        Budget in bits per row. None follows the plan (one bit per column, at least 16, at most
        128).
    codebook_sizes : "auto", int, list or dict, default="auto"
        Codewords per codebook: for all, per level, or per category (an int or a list per level).
        ``"auto"`` follows from the bits.
    n_levels : int, default=None
        Levels; None follows the plan (3).
    context : {"local", "joint"}, default="local"
        Whether the codes of a category depend on its own columns only, or are refined against the
        joint decoder's error in all columns.
    cleaner : FeatureCleaner or transformer, default=None
        Fitted here on the training rows and applied to all rows; has to name its output columns.
        `score` and `diagnose` count what it caps, but neither what it drops nor that it fills.
    encoders : dict of str to torch.nn.Module, default=None
        Own encoder body per category: takes its columns (n, k) in codec units, returns (n, any
        width). A copy is trained; what is given here stays as it is.
    scaler : {"auto", "standard", "robust", "quantile"}, None or transformer, default="auto"
        How columns become comparable; ``"auto"`` follows an earlier step, else ``"standard"``.
    clip : tuple of (float, float), None or "auto", default="auto"
        Training percentiles at which columns are capped; ``"auto"`` follows an earlier step, else
        ``(0.5, 99.5)``.
    column_weights : array-like of shape (n_features,), dict or None, default=None
        How much the squared error of each column counts: in planning, in all fitting and training,
        and in `score` and `diagnose`, which measure in codec units. Codec units are scaled by the
        square roots of weights over mean weight, and back when decoding. A dict holds those that
        are not 1, by column name; with `cleaner`, a dropped near-duplicate's weight goes to its
        partner. None follows the plan, or counts columns as often as a `FeatureCleaner` says that
        they stand for.
    encode : {"ordinal", "onehot", "token", "embedding"}, default="ordinal"
        What `transform` returns: code numbers, one column per codeword, numbers unique over all
        codebooks, or the codewords themselves. May be changed after fitting.
    sparse_output : bool, default=True
        Whether ``encode="onehot"`` gives a sparse CSR matrix.
    group_embedding_dim : int, default=256
        Hidden units of the joint decoder's learned correction.
    group_hidden_dim : int, default=128
        Hidden units of each category's encoder.
    activation : {"gelu", "elu", "relu", "silu", "tanh"}, default="gelu"
        Nonlinearity of encoders and decoder.
    dropout : float, default=0.1
        Dropout in encoders and decoder while training.
    commitment_weight : float, default=0.25
        Weight of the distance between latents and codewords in the loss.
    gradient : {"straight_through", "rotation"}, default="straight_through"
        How the gradient passes from codewords to latents: as it is, or by the rotation trick.
    codebook_update : {"ema", "gradient"}, default="ema"
        Whether codewords follow moving averages or are trained by the loss.
    ema_decay : float, default=0.99
        Decay of the moving averages; only with ``codebook_update="ema"``.
    codebook_weight : float, default=1.0
        Weight of the distance that pulls codewords to latents; only with
        ``codebook_update="gradient"``.
    partial_weight : float, default=0.0
        Weight of the error of each category decoded alone, from its own codewords of the first
        levels, averaged over numbers of levels. It acts on the codewords.
    orthogonality_weight : float, default=0.0
        Weight of the mean squared cosine between codewords of a codebook; only with
        ``codebook_update="gradient"``.
    topographic_weight : float, default=0.0
        Weight of 1 - topographic similarity: the correlation, within a batch, of distances between
        rows with distances between their latents.
    perplexity_weight : float, default=0.0
        Weight of the unevenness with which soft assignments use the codewords: 1 - entropy / log
        of the codebook's size.
    min_rows_per_codeword : float, default=None
        Training rows that there have to be for every codeword of a codebook: bits that a level may
        not put into one codebook are split over several smaller ones. None: at most as many
        codewords as the rows that they are trained on have distinct values.
    beam_width : int, default=32
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
    fit_rows : int, default=50_000
        Most rows to learn from. Every row of a larger table is checked, and so many, drawn at
        random, are its training rows in all that is said here. None: all rows.
    n_iter_no_change : int, default=2
        Epochs without improvement after which training stops; sooner where those left would have to
        make good more than 10 % of the least error each.
    warm_start : bool, default=False
        Whether `fit` goes on from the codebooks and weights of the last fit. Units and plan are
        settled anew; where categories, bits or the shape of the network differ from the last fit,
        it starts anew.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where the network is trained, encodes and decodes; ``"auto"`` is a GPU where torch can use
        one, else the processor. Plan and classical start are always made on the processor, and what
        is fitted is kept as numpy arrays: a codec trained on one device works on the other.
    checkpoint : str, path or None, default=None
        File that keeps what `fit` has done so far, written after planning, after the start and
        after every epoch, and removed when the fit is complete. After an interruption, at whatever
        moment, the same `fit` goes on from it and ends with the same bits as without the
        interruption (begun on another kind of device, which ``device="auto"`` allows, it goes on
        with the random numbers of the present one). A file of another fit (other rows, parameters
        or versions) is refused, so fits side by side need a file each. Earlier steps are fitted
        again; a RandomState that they share with the codec has moved on by then, so that
        `random_state` has to be an int there.
    random_state : int, RandomState instance or None, default=None
        Seed of all random choices. None means a fixed choice.

    Attributes
    ----------
    categories_ : dict of str to ndarray of int64
        Column positions per category.
    ratios_ : dict of str to list of float
        Compression ratio per level.
    bits_ : dict of str to list of int
        Whole bits per level that hold the final codebooks: bits that a category could not use are
        gone, bits offered to it again are added. 5 codewords are held by 3 bits, so the sum over
        categories may be above `budget_`, which `n_bits_` never is.
    decisions_ : pandas.DataFrame
        One row per category: scores, ratios, bits, predicted NMSE (of rows not seen, by those kept
        aside while fitting; without such rows the plan's), a reason, and ``bits_spent``.
    codebooks_ : dict of str to ndarray of shape (K, width)
        Codewords in latent coordinates per code column, float32.
    spreads_ : dict of str to ndarray of shape (K,)
        What the later codewords of the same category are multiplied by, per codeword of those code
        columns where that lowers the error: dense and sparse regions get codewords as close.
    n_bits_ : float
        Bits per row really spent: sum of log2 of the codebook sizes, never above the budget.
    budget_ : int
        Bits per row that may be spent.
    curves_ : dict of str to ndarray
        NMSE of each category per number of bits; only where the plan was measured.
    training_ : dict
        Figures of the training rows that `diagnose` compares new rows with.
    history_ : list of dict
        One record per epoch: ``epoch``, ``train_loss``, ``start_nmse`` and ``valid_nmse`` (on rows
        kept aside, before training and now), ``valid_error_per_category``, ``utilization``,
        ``perplexity_share``, and whether it is the ``best`` so far. The first also has `moves_`, as
        ``moves``, with ``strategy="learned"``; one that ran off holds ``diverged``, no errors.
    moves_ : list of dict
        Bits moved by ``strategy="learned"``: giver, taker, error before and after.
    n_iter_ : int
        Epochs that the kept weights were trained for; 0 where training did not help.
    units_ : CodecUnits
        Caps and scaling.
    n_capped_ : ndarray of shape (n_features,)
        Training cells capped per column, by a `FeatureCleaner` given as `cleaner`, too; with
        weights, their sum, rounded.
    cleaner_ : FeatureCleaner
        Only with `cleaner`.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names, if the table had any.

    See Also
    --------
    AdaptiveRatioSelector : Makes the plan.
    FeatureCharacterizer : Finds the categories.

    Notes
    -----
    A row of weight 2 counts as the row twice, one of weight 0 as no row: exactly in caps, units,
    scores, categories and spectra, and in all sums that codebooks and decoder are fitted by. Which
    rows are kept aside and which codewords k-means starts from is drawn at random, so that weights
    and repetitions agree up to these choices; with fewer than 50 rows they give the same codes.
    Weights that are no whole numbers are first rescaled to a mean of one.

    References
    ----------
    van den Oord, Vinyals and Kavukcuoglu (2017), "Neural discrete representation learning".
    Babenko and Lempitsky (2014), "Additive quantization for extreme vector compression".
    Sabin and Gray (1984), "Product code vector quantizers for waveform and voice coding".
    Fifty et al. (2024), "Restructuring vector quantization with the rotation trick".

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

    _parameter_constraints: dict[str, Any] = CODEC_CONSTRAINTS
    __metadata_request__inverse_transform = {"codes": UNUSED}  # what is decoded is no metadata

    def __init__(
        self,
        compression_ratios: Any = "auto",
        *,
        auto_compression_strategy: Any = "rate_distortion",
        bits: int | None = None,
        codebook_sizes: Any = "auto",
        n_levels: int | None = None,
        context: str = "local",
        cleaner: Any = None,
        encoders: Mapping[str, Any] | None = None,
        scaler: Any = "auto",
        clip: Any = "auto",
        column_weights: Any = None,
        encode: str = "ordinal",
        sparse_output: bool = True,
        group_embedding_dim: int = 256,
        group_hidden_dim: int = 128,
        activation: str = "gelu",
        dropout: float = 0.1,
        commitment_weight: float = 0.25,
        gradient: str = "straight_through",
        codebook_update: str = "ema",
        ema_decay: float = 0.99,
        codebook_weight: float = 1.0,
        partial_weight: float = 0.0,
        orthogonality_weight: float = 0.0,
        topographic_weight: float = 0.0,
        perplexity_weight: float = 0.0,
        min_rows_per_codeword: float | None = None,
        beam_width: int = 32,
        max_epochs: int = 12,
        batch_size: int = 256,
        lr: float = 1e-3,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        fit_rows: int | None = 50_000,
        n_iter_no_change: int = 2,
        warm_start: bool = False,
        device: str = "auto",
        checkpoint: str | os.PathLike[str] | None = None,
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
        self.column_weights = column_weights
        self.encode = encode
        self.sparse_output = sparse_output
        self.group_embedding_dim = group_embedding_dim
        self.group_hidden_dim = group_hidden_dim
        self.activation = activation
        self.dropout = dropout
        self.commitment_weight = commitment_weight
        self.gradient = gradient
        self.codebook_update = codebook_update
        self.ema_decay = ema_decay
        self.codebook_weight = codebook_weight
        self.partial_weight = partial_weight
        self.orthogonality_weight = orthogonality_weight
        self.topographic_weight = topographic_weight
        self.perplexity_weight = perplexity_weight
        self.min_rows_per_codeword = min_rows_per_codeword
        self.beam_width = beam_width
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.fit_rows = fit_rows
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.device = device
        self.checkpoint = checkpoint
        self.random_state = random_state

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]
    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Plan, start and train the codec.

        Parameters
        ----------
        X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
            At least two rows; NaN marks a missing cell.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative; 2 is the same as the row twice, 0 as no row.

        Returns
        -------
        HierarchicalVQVAE
            The fitted estimator.

        Raises
        ------
        ValueError
            If the table is unusable, fewer than two rows have a weight, a parameter is out of range
            or contradicts an earlier step, the plan of an earlier step was lost on the way, or the
            checkpoint is of another fit.
        OSError
            If the checkpoint can not be read or written.

        Notes
        -----
        A fit that fails or is interrupted (Ctrl-C) leaves the estimator as it was.
        """
        from adaptive_vq._device import resolve_device

        resolve_device(self.device)  # before the work, not after it
        refuse_idle_parameters(self)
        refuse_small_batches(self)
        with unchanged_on_failure(self):
            context = self._init_callback_context(max_subtasks=self.max_epochs or None)
            y = X if y is None else y  # what callbacks compare with
            context.call_on_fit_task_begin(estimator=self, X=X, y=y)
            self._fit(X, sample_weight, context)
            context.call_on_fit_task_end(
                estimator=self, X=X, y=y, reconstruction_attributes=self._fitted_attributes
            )
        return self

    def _fit(self, X: Any, sample_weight: Any, context: Any) -> None:
        from adaptive_vq.checkpoints import open_checkpoint
        from adaptive_vq.estimation import fit_estimator

        X, table, sample_weight = rows_to_learn_from(self, X, sample_weight, self.fit_rows)
        note = annotation(X)
        refuse_lost_note(context, note, OWNER)
        importance = check_column_weights(self.column_weights, column_names(self))
        inner, cells = clean_rows(self, X, table, note, sample_weight)
        given, table = self._given(table, cells), cells
        if not getattr(self, "_skl_callbacks", None):
            X = None  # only callbacks look at it from here on
        importance = kept_weights(self, importance)
        names = self._inner_names()
        progress = open_checkpoint(self, table, names, note, sample_weight)
        plan, scaler, clip, note = resolve_plan(
            self, inner, table, note, progress.recall, sample_weight, importance
        )
        table, weight = learning_rows(table, sample_weight)
        self.units_ = CodecUnits(scaler, clip).fit(
            table, weight, names=names, column_weights=note["column_weights"]
        )
        report_training_columns(self.units_, table)
        self.n_capped_ = self._count_capped(cells, given, sample_weight)
        Z = self.units_.to_codec(table)
        self._imputer = ConditionalMeanImputer().fit(Z, plan.categories, weight)
        Z, observed = self._imputer.transform(Z), ~np.isnan(Z)
        del table, inner, cells, given  # as large as what is still to come
        fit_estimator(self, plan, Z, observed, context, X, progress, weight)
        progress.finish()

    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit on the first chunk; later chunks move codewords and decoder only.

        Parameters
        ----------
        X : array-like, pandas or polars DataFrame of shape (n_samples, n_features)
            On the first call at least two rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative; 2 is the same as the row twice, 0 as no row.

        Returns
        -------
        HierarchicalVQVAE
            Units, categories, bits and codebook sizes stay as the first call fixed them.

        Raises
        ------
        ValueError
            As `fit`; on later calls also if cells that no cap holds back are more than 1,000,000
            standard deviations from the training mean of their column (with ``clip=None``, more
            than 100 are warned of).
        """
        from adaptive_vq.estimation import update_estimator

        if not hasattr(self, "codebooks_"):
            return self.fit(X, sample_weight=sample_weight)
        self._check_usable()
        rows, weight = weighted_rows(self._inner(X), sample_weight)  # without rows of weight 0
        Z = self.units_.to_codec(rows)
        judge_rows_to_learn_from(self.units_, Z)
        Z, observed = self._imputer.transform(Z), ~np.isnan(Z)
        with unchanged_on_failure(self):
            update_estimator(self, Z, observed, weight)
        return self

    def _keep_plan(self, plan: Plan) -> None:
        self.categories_ = plan.categories
        self.ratios_ = plan.ratios
        self.bits_ = plan.bits
        self.decisions_: pd.DataFrame = plan.decisions_frame()
