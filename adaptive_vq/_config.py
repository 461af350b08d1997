"""Settings of the command line: a YAML file and options become one pipeline.

Every key of a file is honored or refused by name; none is read and ignored.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints

from adaptive_vq.characterize import FeatureCharacterizer
from adaptive_vq.cleaning import FeatureCleaner
from adaptive_vq.ratios import AdaptiveRatioSelector
from adaptive_vq.vqvae import HierarchicalVQVAE

__all__ = ["build_pipeline", "read_config", "settings_of"]

CLEAN, CATEGORIES, RATIOS, CODEC = "clean", "characterize", "ratios", "vq"
SEED = "seed"
LARGEST_SEED = 2**32 - 1  # numpy's

#: Parameters of the codec that are about training; the others belong to ``model``.
_TRAINING = (
    "max_epochs",
    "batch_size",
    "lr",
    "early_stopping",
    "validation_fraction",
    "fit_rows",
    "n_iter_no_change",
    "device",
    "checkpoint",
)
#: Not values that a file can hold, or decided in another place of it.
_NOT_IN_FILES = ("cleaner", "encoders", "warm_start", "random_state", "compression_ratios")
#: Names used elsewhere, and what they are called here: step and parameter.
_ALIASES = {
    "model": {
        "auto_compression_strategy": (RATIOS, "strategy"),
        "strategy": (RATIOS, "strategy"),
        "bits": (RATIOS, "bits"),
        "max_nmse": (RATIOS, "max_nmse"),
        "column_weights": (RATIOS, "column_weights"),
        "cut_tolerance": (RATIOS, "cut_tolerance"),
        "levels": (RATIOS, "n_levels"),
        "n_levels": (RATIOS, "n_levels"),
        "compression_ratios": (CODEC, "compression_ratios"),
        "commitment_cost": (CODEC, "commitment_weight"),
        "decay": (CODEC, "ema_decay"),
        "use_ema": (CODEC, "codebook_update"),
        "scaler": (CATEGORIES, "scaler"),
        "clip": (CATEGORIES, "clip"),
    },
    "training": {
        "epochs": (CODEC, "max_epochs"),
        "num_epochs": (CODEC, "max_epochs"),
        "learning_rate": (CODEC, "lr"),
        "patience": (CODEC, "n_iter_no_change"),
        "early_stopping_patience": (CODEC, "n_iter_no_change"),
        "val_fraction": (CODEC, "validation_fraction"),
        "val_split": (CODEC, "validation_fraction"),
        "orthogonality_weight": (CODEC, "orthogonality_weight"),
        "informativeness_weight": (CODEC, "partial_weight"),
        "topo_weight": (CODEC, "topographic_weight"),
        "seed": (SEED, "random_state"),
        "random_state": (SEED, "random_state"),
    },
    "cleaning": {},
    "categories": {},
}
_CLASSES: dict[str, Any] = {
    CLEAN: FeatureCleaner,
    CATEGORIES: FeatureCharacterizer,
    RATIOS: AdaptiveRatioSelector,
    CODEC: HierarchicalVQVAE,
}
#: What a switch of the prior system says here.
_USE_EMA = {True: "ema", False: "gradient"}


def read_config(path: str | Path) -> dict[str, Any]:
    """Read the settings of a YAML file.

    Parameters
    ----------
    path : str or path
        Sections ``model``, ``training``, ``cleaning`` and ``categories``.

    Returns
    -------
    dict
        For `build_pipeline`.

    Raises
    ------
    ValueError
        If it is no YAML, or a key is unknown or there twice, naming it and the section it belongs
        to or the nearest valid one.
    OSError
        If it can not be read.
    ImportError
        If PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise ImportError("--config needs PyYAML: pip install 'adaptive-vq[cli]'.") from error
    try:
        text = Path(path).read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_loader(yaml))
        return settings_of(content)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML file: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _loader(yaml: Any) -> Any:
    """Return PyYAML's safe loader, but with numbers such as 1e-3 and without repeated keys.

    Ratios such as 1:2:3 stay text; to PyYAML they would be a number to the base of 60.
    """

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
            keys = [self.construct_object(key, deep=True) for key in own]
            twice = [key for key in keys if keys.count(key) > 1]
            if twice:
                raise ValueError(f"the key {twice[0]!r} stands there twice.")
            return dict(super().construct_mapping(node, deep))

        def construct_number(self, node: Any) -> Any:
            if ":" in node.value:
                return node.value
            whole = node.tag.endswith(":int")
            return self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"),
        list("-+.0123456789"),
    )
    for kind in ("int", "float"):
        Loader.add_constructor(f"tag:yaml.org,2002:{kind}", Loader.construct_number)
    return Loader


def settings_of(content: Any) -> dict[str, Any]:
    """Translate the sections of a file.

    Parameters
    ----------
    content : mapping
        Section name to mapping of keys to values.

    Returns
    -------
    dict
        ``step__parameter`` to value, and ``clean`` where there is a section on cleaning.

    Raises
    ------
    ValueError
        As for `read_config`.

    Examples
    --------
    >>> from adaptive_vq._config import settings_of
    >>> settings_of({"model": {"levels": 2, "decay": 0.9}, "training": {"epochs": 5}})
    {'ratios__n_levels': 2, 'vq__ema_decay': 0.9, 'vq__max_epochs': 5}
    >>> settings_of({"model": {"commitment_costs": 0.3}})
    Traceback (most recent call last):
    ValueError: unknown key model.commitment_costs; the nearest valid one is 'commitment_cost'.
    """
    if content is None:
        return {}
    _require_mapping(content, "the file")
    settings: dict[str, Any] = {}
    for section, keys in content.items():
        if section not in _ALIASES:
            raise ValueError(f"unknown section {section!r}; {_hint(section, _ALIASES)}")
        if section == "cleaning":
            if keys is False:
                continue
            settings[CLEAN] = True
        if keys is None or (section == "cleaning" and keys is True):
            continue
        _require_mapping(keys, f"section {section!r}")
        for key, value in keys.items():
            _take(settings, section, key, value)
    return settings


def _take(settings: dict[str, Any], section: str, key: Any, value: Any) -> None:
    valid = _valid(section)
    if key not in valid:
        raise ValueError(f"unknown key {section}.{key}; {_hint(key, valid)}")
    step, parameter = valid[key]
    if parameter == "n_levels" and not _is_whole(value):
        raise ValueError(
            f"{section}.{key}={value!r}: give the number of levels; latent widths follow from "
            "compression_ratios, codewords from bits or codebook_sizes."
        )
    if key == "use_ema":
        if not isinstance(value, bool):
            raise ValueError(f"{section}.{key}={value!r}: give true or false.")
        value = _USE_EMA[value]
    elif isinstance(value, bool) and not _may_be_boolean(step, parameter):
        # Python counts true as 1, so that the estimators would take it for a number.
        raise ValueError(f"{section}.{key}={value!r}: true and false are no values of it.")
    else:
        _refuse_bad_value(f"{section}.{key}", step, parameter, value)
    name = f"{step}__{parameter}"
    if name in settings:
        raise ValueError(f"{section}.{key} sets {parameter} a second time; give it once.")
    settings[name] = value


def _refuse_bad_value(key: str, step: str, parameter: str, value: Any) -> None:
    """Refuse what the estimator would refuse, under the name that stands in the file."""
    if step == SEED:
        if not _is_whole(value) or not 0 <= value <= LARGEST_SEED:
            raise ValueError(f"{key}={value!r}: must be a whole number from 0 to {LARGEST_SEED}")
        return
    constraints = _CLASSES[step]._parameter_constraints[parameter]
    try:
        validate_parameter_constraints({parameter: constraints}, {parameter: value}, key)
    except InvalidParameterError as error:
        must_be = str(error).partition(" must be ")[2].rpartition(" Got ")[0]
        raise ValueError(f"{key}={value!r}: must be {must_be}") from error


def _may_be_boolean(step: str, parameter: str) -> bool:
    if step == SEED:
        return False
    return "boolean" in _CLASSES[step]._parameter_constraints[parameter]


def _valid(section: str) -> dict[str, tuple[str, str]]:
    """Return the keys of a section with the step and parameter that they set."""
    if section == "cleaning":
        return {name: (CLEAN, name) for name in FeatureCleaner._get_param_names()}
    if section == "categories":
        own = [n for n in FeatureCharacterizer._get_param_names() if n not in _NOT_IN_FILES]
        own = [name for name in own if name not in ("scaler", "clip")]
        return {name: (CATEGORIES, name) for name in own}
    codec = [n for n in HierarchicalVQVAE._get_param_names() if n not in _NOT_IN_FILES]
    own = [name for name in codec if (name in _TRAINING) == (section == "training")]
    return {name: (CODEC, name) for name in own} | _ALIASES[section]


def build_pipeline(settings: Mapping[str, Any]) -> Pipeline:
    """Make the pipeline of settings: cleaner if asked for, characterizer, selector, codec.

    Parameters
    ----------
    settings : mapping
        ``step__parameter`` to value, as from `settings_of`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted. Without a selector where compression ratios are given.

    Raises
    ------
    ValueError
        If a setting has no effect beside another one.

    Examples
    --------
    >>> from adaptive_vq._config import build_pipeline
    >>> list(build_pipeline({"ratios__bits": 32, "seed__random_state": 0}).named_steps)
    ['characterize', 'ratios', 'vq']
    >>> list(build_pipeline({"vq__compression_ratios": "0.5:1:1.5", "clean": True}).named_steps)
    ['clean', 'characterize', 'vq']
    """
    wanted = dict(settings)
    given = wanted.get(f"{CODEC}__compression_ratios", "auto") != "auto"
    if given:
        _hand_budget_to_codec(wanted)
    steps: list[tuple[str, Any]] = [(CLEAN, FeatureCleaner())] if wanted.pop(CLEAN, False) else []
    steps.append((CATEGORIES, FeatureCharacterizer()))
    if not given:
        steps.append((RATIOS, AdaptiveRatioSelector()))
    steps.append((CODEC, HierarchicalVQVAE()))
    seed = wanted.pop(f"{SEED}__random_state", None)
    seeds = {f"{name}__random_state": seed for name, _ in steps if name != CLEAN}
    return Pipeline(steps).set_params(**wanted, **seeds)


def _hand_budget_to_codec(wanted: dict[str, Any]) -> None:
    """Without a selector the codec takes the budget; other choices of a selector mean nothing."""
    for name in ("strategy", "max_nmse", "cut_tolerance"):
        if wanted.pop(f"{RATIOS}__{name}", None) is not None:
            raise ValueError(
                f"{name} has no effect beside given compression_ratios; leave one of the two out."
            )
    for name in ("bits", "n_levels", "column_weights"):
        if f"{RATIOS}__{name}" in wanted:
            wanted[f"{CODEC}__{name}"] = wanted.pop(f"{RATIOS}__{name}")


def _hint(key: Any, valid: Iterable[str]) -> str:
    """Say where a key belongs, or which one is meant."""
    home = next((section for section in _ALIASES if key in _valid(section)), None)
    if home is not None:
        return f"it belongs to section {home!r}."
    close = difflib.get_close_matches(str(key), list(valid), 1, cutoff=0.0)
    return f"the nearest valid one is {close[0]!r}."


def _require_mapping(value: Any, what: str) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} must hold keys and values, got {type(value).__name__}.")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
