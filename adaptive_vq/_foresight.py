"""What a codec will leave of rows that it has not seen, per category."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adaptive_vq.modules import CodecModule
from adaptive_vq.training import Rows

__all__ = ["Optimism", "category_errors", "measure_optimism"]

BEAM = 8
"""A narrow beam tells by how much unseen rows are worse as well as a wide one."""
MOST_ROWS = 5_000
ALIKE = 0.3
"""Categories of a table memorize about alike: standard deviation of the logarithm by which their
unseen rows are worse."""
_EXACT = 1e-9


@dataclass(frozen=True)
class _Errors:
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
def category_errors(
    module: CodecModule, rows: Rows, codes: Tensor, tile: int = 8_192
) -> dict[str, _Errors]:
    """Errors of every category, row by row, of weighted rows with these codes."""
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {c.name: [] for c in module.layout.categories}
    for start in range(0, len(rows), tile):
        part = slice(start, start + tile)
        table, weight = rows.table[part].double(), rows.weight[part].double()
        output = module.decode(codes[part], module.layout.n_levels).double()
        error = weight * (table - output) ** 2
        energy = weight * (table - module.offset.double()) ** 2
        for c in module.layout.categories:
            parts[c.name].append((error[:, c.columns].sum(1), energy[:, c.columns].sum(1)))
    return {
        name: _Errors(torch.cat([e for e, _ in kept]), torch.cat([d for _, d in kept]))
        for name, kept in parts.items()
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
    """

    factors: dict[str, float | None]
    aside: dict[str, float]

    def predict(self, training: dict[str, _Errors]) -> dict[str, float]:
        """NMSE per category of unseen rows, from the errors of the final training rows."""
        predicted = {}
        for name, aside in self.aside.items():
            factor, trained = self.factors[name], training[name].nmse
            predicted[name] = aside if factor is None or trained <= _EXACT else factor * trained
        return predicted


def measure_optimism(module: CodecModule, fit_rows: Rows, valid: Rows) -> Optimism:
    """Compare rows kept aside with rows fitted on.

    Few rows kept aside tell little of one category: a single outlier may double its error. The
    logarithm of each factor is therefore drawn towards their mean, the more the less certain it is
    (an empirical Bayes estimate; Morris, 1983, "Parametric empirical Bayes inference").

    Parameters
    ----------
    module : CodecModule
        Fitted on `fit_rows` alone.
    fit_rows, valid : Rows
    """
    few = Rows(fit_rows.table[:MOST_ROWS], fit_rows.weight[:MOST_ROWS])
    seen, unseen = (
        category_errors(module, rows, module.encode(rows.table, BEAM)) for rows in (few, valid)
    )
    names = [n for n in seen if seen[n].nmse > _EXACT and unseen[n].nmse > _EXACT]
    logs = torch.tensor([unseen[n].nmse / seen[n].nmse for n in names]).double().log()
    noise = torch.tensor([seen[n].log_variance + unseen[n].log_variance for n in names]).double()
    noise = noise.clamp_min(1e-12)
    trust = 1.0 / (noise + ALIKE**2)
    mean = (trust * logs).sum() / trust.sum()
    drawn = (logs / noise + mean / ALIKE**2) / (1.0 / noise + 1.0 / ALIKE**2)
    factors: dict[str, float | None] = dict.fromkeys(seen)
    factors |= {n: float(f) for n, f in zip(names, drawn.exp(), strict=True)}
    return Optimism(factors, {name: errors.nmse for name, errors in unseen.items()})
