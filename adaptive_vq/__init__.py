"""Turn a numeric feature table into a few small integers per row.

Public names are imported on first use, so ``import adaptive_vq`` is quick and loads neither torch
nor any optional library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import adaptive_vq.datasets as datasets
    import adaptive_vq.metrics as metrics
    from adaptive_vq.characterize import FeatureCharacterizer
    from adaptive_vq.cleaning import FeatureCleaner
    from adaptive_vq.diagnosis import compare, diagnose
    from adaptive_vq.persistence import load, save
    from adaptive_vq.ratios import AdaptiveRatioSelector
    from adaptive_vq.tuning import tune_categories
    from adaptive_vq.vqvae import HierarchicalVQVAE

__version__ = "0.1.0"

__all__ = [
    "AdaptiveRatioSelector",
    "FeatureCharacterizer",
    "FeatureCleaner",
    "HierarchicalVQVAE",
    "__version__",
    "compare",
    "datasets",
    "diagnose",
    "load",
    "metrics",
    "save",
    "tune_categories",
]

_HOME = {
    "AdaptiveRatioSelector": "ratios",
    "FeatureCharacterizer": "characterize",
    "FeatureCleaner": "cleaning",
    "HierarchicalVQVAE": "vqvae",
    "compare": "diagnosis",
    "diagnose": "diagnosis",
    "load": "persistence",
    "save": "persistence",
    "tune_categories": "tuning",
}
_MODULES = ("datasets", "metrics")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
