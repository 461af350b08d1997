"""What a codec will leave of rows that it has not seen, per category."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptive_vq._novelty import novel_error
from adaptive_vq._rows import Rows
from adaptive_vq.modules import CodecModule

__all__ = [
    "Errors",
    "Optimism",
    "category_errors",
    "drawn_together",
    "measure_optimism",
    "novel_errors",
]

BEAM = 8
"""A narrow beam tells by how much unseen rows are worse as well as a wide one."""
MOST_ROWS = 5_000
ALIKE = 0.3
"""Categories of a table memorize about alike: standard deviation of the logarithm by which their
unseen rows are worse."""
_EXACT = 1e-9


@dataclass(frozen=True)
class Errors:
    """Squared errors and energies of rows (n,), and what follows from them."""

    error: Tensor
    energy: Tensor

    @property
    def nmse(self) -> float:
        return float(self.error.sum() / self.energy.sum().clamp_min(1e-30))

    @property
    def log_variance(self) -> float:
        """Variance of the logarithm of `nmse`, by how it varies from row to row."""
        away = self.error - self.nmse * self.energy
        return float(away.square().sum() / self.error.sum().clamp_min(1e-30).square())


@torch.no_grad()
def category_errors(module: CodecModule, rows: Rows) -> dict[str, Errors]:
    """Errors of every category on the first `MOST_ROWS` rows, row by row."""
    rows = Rows(rows.table[:MOST_ROWS], rows.weight[:MOST_ROWS])
    output = module.decode(module.encode(rows.table, BEAM), module.layout.n_levels)
    error = (rows.weight * (rows.table - output) ** 2).double()
    energy = (rows.weight * (rows.table - module.offset) ** 2).double()
    return {
        c.name: Errors(error[:, c.columns].sum(1), energy[:, c.columns].sum(1))
        for c in module.layout.categories
    }


@dataclass(frozen=True)
class Optimism:
    """By how much rows kept aside were worse than rows fitted on, when there were such.

    Attributes
    ----------
    factors : dict of str to float or None
        Per category, NMSE of unseen rows over that of training rows; None where the latter have no
        error.
    aside : dict of str to float
        NMSE of the rows kept aside.
    novel : dict of str to float
        What rows like none before add to the NMSE of categories that take few values.
    """

    factors: dict[str, float | None]
    aside: dict[str, float]
    novel: dict[str, float] = field(default_factory=dict)

    def predict(self, training: Mapping[str, float]) -> dict[str, float]:
        """NMSE per category of unseen rows, from that of the final training rows."""
        predicted = {}
        for name, aside in self.aside.items():
            factor, trained = self.factors[name], training[name]
            if name in self.novel:  # other rows repeat those fitted on
                predicted[name] = trained + self.novel[name]
            else:
                predicted[name] = aside if factor is None or trained <= _EXACT else factor * trained
        return predicted


@torch.no_grad()
def novel_errors(module: CodecModule, rows: Rows) -> dict[str, float]:
    """What rows like none before add to the NMSE of categories that take few values.

    By rows all of whose cells in the category are observed.
    """
    found = {}
    for category in module.layout.categories:
        cells = rows.table[:, category.columns]
        weight = rows.weight[:, category.columns].amin(1)
        error = novel_error(cells.numpy(), weight.double().numpy())
        away = (cells - module.offset[category.columns]).square().sum(1)
        energy = float((away * weight).sum() / weight.sum().clamp_min(1e-30))
        if error is not None and energy > 0:
            found[category.name] = error / energy
    return found


def measure_optimism(
    unseen: Mapping[str, Errors],
    seen: Mapping[str, Errors],
    novel: Mapping[str, float] | None = None,
) -> Optimism:
    """Compare rows kept aside with rows fitted on.

    Few rows kept aside tell little of one category: a single outlier may double its error. The
    logarithm of each factor is therefore drawn towards their mean, the more the less certain it is
    (an empirical Bayes estimate; Morris, 1983, "Parametric empirical Bayes inference").

    Parameters
    ----------
    unseen : mapping of str to Errors
        Of rows kept aside, by a codec that has not seen them.
    seen : mapping of str to Errors
        Of rows fitted on, by the final codec: what is done last may fit single rows.
    novel : mapping of str to float, default=None
        What `novel_errors` says of all rows.
    """
    both = [name for name in unseen if name in seen]  # rows aside may have brought a codebook
    names = [n for n in both if seen[n].nmse > _EXACT and unseen[n].nmse > _EXACT]
    logs = np.log([unseen[n].nmse / seen[n].nmse for n in names])
    noise = np.array([seen[n].log_variance + unseen[n].log_variance for n in names])
    factors: dict[str, float | None] = dict.fromkeys(unseen)
    factors |= dict(zip(names, np.exp(drawn_together(logs, noise)).tolist(), strict=True))
    aside = {name: errors.nmse for name, errors in unseen.items()}
    return Optimism(factors, aside, dict(novel or {}))


def drawn_together(
    values: NDArray[np.float64], variances: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Draw uncertain values towards their weighted mean, each by its share of noise.

    Examples
    --------
    >>> import numpy as np
    >>> from adaptive_vq._foresight import drawn_together
    >>> drawn_together(np.array([0.0, 1.0]), np.array([0.09, 0.09])).tolist()
    [0.25, 0.75]
    """
    if len(values) == 0:
        return values
    mean = np.average(values, weights=1.0 / (variances + ALIKE**2))
    own = ALIKE**2 / (variances + ALIKE**2)
    return np.asarray(own * values + (1.0 - own) * mean)
