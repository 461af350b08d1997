"""Steps that give a table on as it is, with a note for the steps after them."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from adaptive_vq.annotations import play_same_role

__all__ = ["PassesThrough"]


class PassesThrough(
    OneToOneFeatureMixin,
    TransformerMixin,
    auto_wrap_output_keys=None,  # type: ignore[call-arg]
):
    """What does not depend on the note: the way back, and output that is always a DataFrame."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # scikit-learn's opt-out of output wrapping is not inherited; the note would be lost.
        super().__init_subclass__(**{"auto_wrap_output_keys": None, **kwargs})
        play_same_role(cls)

    def inverse_transform(self, X: Any) -> Any:
        """Return `X` as it is, since `transform` changes no cell.

        Parameters
        ----------
        X : object of shape (n_samples, n_features)
            What a later step's ``inverse_transform`` gave.

        Returns
        -------
        object of shape (n_samples, n_features)
            `X` itself.
        """
        check_is_fitted(self)
        return X

    def set_output(self, *, transform: str | None = None) -> Self:
        """Do nothing: the output is always a pandas DataFrame, which carries the note.

        A pipeline sets the output of every step; the one that counts is that of its last step.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            Without effect here.

        Returns
        -------
        estimator
            The estimator itself.
        """
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []  # a DataFrame has no dtype of its own
        return tags
