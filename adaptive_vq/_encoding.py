"""Estimators as JSON values and arrays, and back: data only, nothing that could run.

What a file may name is fixed here: the estimators of this library and scikit-learn's Pipeline, and
a few containers. Everything else is refused by name, when it is saved as when it is loaded.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import MetadataRequest

import adaptive_vq
from adaptive_vq._cleaning_rules import Extent
from adaptive_vq._twins import Twin
from adaptive_vq.missing import ConditionalMeanImputer
from adaptive_vq.plan import Plan
from adaptive_vq.sampling import RowSample
from adaptive_vq.units import CodecUnits

__all__ = ["Decoder", "Encoder"]

ESTIMATORS = (
    "FeatureCleaner",
    "FeatureCharacterizer",
    "AdaptiveRatioSelector",
    "HierarchicalVQVAE",
    "Pipeline",
)
_RECORDS = {cls.__name__: cls for cls in (Extent, Plan, RowSample, Twin)}
_STATEFUL = {cls.__name__: cls for cls in (CodecUnits, ConditionalMeanImputer)}
_REQUESTS = "_metadata_request"
_ATTRIBUTE = re.compile(r"_?[A-Za-z][A-Za-z0-9_]*")
_NUMERIC = "biuf"
_SHOWN = 80  # characters of a value in an error


def estimator_class(name: str) -> type[BaseEstimator]:
    """Return one of the classes that a file may name."""
    if name not in ESTIMATORS:
        raise ValueError(f"unknown class {name!r}; known are {', '.join(ESTIMATORS)}")
    return Pipeline if name == "Pipeline" else getattr(adaptive_vq, name)


class Encoder:
    """Turns an estimator into JSON values; arrays go into `tensors` under readable names.

    Attributes
    ----------
    tensors : dict of str to ndarray
        An array that several attributes share is stored once.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, NDArray[Any]] = {}
        self._names: dict[int, tuple[str, Any]] = {}

    def estimator(self, estimator: Any, where: str) -> dict[str, Any]:
        """Return class, parameters and fitted attributes of an estimator."""
        name = type(estimator).__name__
        if name not in ESTIMATORS or type(estimator) is not estimator_class(name):
            raise ValueError(
                f"{where} is a {type(estimator).__module__}.{name}, which this file format does "
                f"not hold ({', '.join(ESTIMATORS)}). Save the steps of this library alone, or use "
                "joblib or skops for the whole."
            )
        estimator._validate_params()
        params = estimator.get_params(deep=False)
        state = {
            key: value
            for key, value in estimator.__getstate__().items()
            # Callbacks are objects of the session; scikit-learn's version stands in the header.
            if key not in params and not key.startswith("_skl_") and key != "_sklearn_version"
        }
        request = state.pop(_REQUESTS, None)
        if request is not None:
            state[_REQUESTS] = request._serialize()
        steps = params.pop("steps", None)
        node = {
            "class": name,
            "params": {k: self.value(v, f"{where}({k}=...)") for k, v in params.items()},
            "state": {k: self.value(v, f"{where}.{k}") for k, v in state.items()},
        }
        if steps is not None:
            node["steps"] = [[key, self._step(key, step)] for key, step in steps]
        return node

    def _step(self, name: str, step: Any) -> Any:
        return step if step in (None, "passthrough") else self.estimator(step, name)

    def value(self, value: Any, where: str) -> Any:
        """Return JSON values for one value; `where` names it in errors."""
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or value is pd.NA or isinstance(value, bool | int | str):
            return None if value is pd.NA else value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"$float": repr(value)}
        if isinstance(value, Path):
            return str(value)
        for kind, encode in _ENCODERS:
            if isinstance(value, kind):
                return encode(self, value, where)
        if type(value).__name__ in _RECORDS and is_dataclass(value):
            own = {f.name: getattr(value, f.name) for f in fields(value)}
            return {"$record": type(value).__name__, "fields": self._items(own, where)}
        if type(value).__name__ in _STATEFUL:
            return {"$state": type(value).__name__, "of": self.value(value.state(), where)}
        if isinstance(value, BaseEstimator) and type(value).__name__ in ESTIMATORS:
            return {"$estimator": self.estimator(value, where)}
        raise ValueError(_refusal(value, where))

    def _items(self, value: Mapping[Any, Any] | pd.Series, where: str) -> list[Any]:
        return [[self.value(k, where), self.value(v, f"{where}.{k}")] for k, v in value.items()]

    def _list(self, value: Any, where: str) -> list[Any]:
        return [self.value(item, f"{where}[{i}]") for i, item in enumerate(value)]

    def _array(self, value: NDArray[Any], where: str) -> dict[str, Any]:
        if value.dtype.kind in "OUT":
            if value.ndim != 1 or not all(isinstance(cell, str) for cell in value):
                raise ValueError(f"{where} is an array of objects, which this format does not hold")
            return {"$strings": [str(cell) for cell in value]}
        if value.dtype.kind not in _NUMERIC or value.dtype.itemsize > 8:
            raise ValueError(f"{where} is an array of {value.dtype}; convert it to float64 first.")
        if id(value) not in self._names:
            name = where if where not in self.tensors else f"{where}#{len(self.tensors)}"
            native = np.array(value, dtype=value.dtype.newbyteorder("="), order="C")
            self.tensors[name] = native
            self._names[id(value)] = (name, value)  # held, so that no other array gets its id
        return {"$array": self._names[id(value)][0]}

    def _frame(self, value: pd.DataFrame, where: str) -> dict[str, Any]:
        columns = []
        for j, name in enumerate(value.columns):
            cells = value.iloc[:, j].to_numpy()
            if not len(cells) and cells.dtype.kind not in _NUMERIC:
                cells = np.array([], dtype=str)
            columns.append([self.value(name, where), self._array(cells, f"{where}.{name}")])
        index = None if isinstance(value.index, pd.RangeIndex) else [str(k) for k in value.index]
        names = [self.value(name, where) for name in (value.index.name, value.columns.name)]
        return {"$frame": columns, "rows": len(value), "index": index, "names": names}


_ENCODERS: list[tuple[Any, Callable[[Encoder, Any, str], Any]]] = [
    (tuple, lambda self, v, where: {"$tuple": self._list(v, where)}),
    (list, lambda self, v, where: self._list(v, where)),
    # What names or numbers columns; a list of the same does.
    (range | pd.Index, lambda self, v, where: self._list(v, where)),
    (set | frozenset, lambda self, v, where: self._list(sorted(v, key=repr), where)),
    (pd.Series, lambda self, v, where: {"$series": self._items(v, where)}),
    (dict, lambda self, v, where: {"$dict": self._items(v, where)}),
    (slice, lambda self, v, where: {"$slice": self._list((v.start, v.stop, v.step), where)}),
    (np.ndarray, lambda self, v, where: self._array(v, where)),
    (pd.DataFrame, lambda self, v, where: self._frame(v, where)),
]


def _refusal(value: Any, where: str) -> str:
    """Return what can not be stored, and what to do about it."""
    if isinstance(value, np.random.RandomState | np.random.Generator):
        advice = "Pass a whole number as seed."
    elif any(base.__module__.startswith("torch.nn") for base in type(value).__mro__):
        advice = (
            "A network of your own is code, which the file does not hold: pickle the estimator."
        )
    elif hasattr(value, "fit"):
        advice = (
            "A transformer or estimator of another library is code, which the file does not hold: "
            "use one of the named choices, or pickle the estimator."
        )
    elif callable(value):
        advice = "A function is code, which the file does not hold: give its result instead."
    else:
        advice = "Convert it to numbers, text, lists or arrays."
    kind = f"{type(value).__module__}.{type(value).__name__}"
    shown = textwrap.shorten(repr(value), _SHOWN)
    return f"{where} is {shown} ({kind}) and can not be saved. {advice}"


class Decoder:
    """Turns what an `Encoder` made into an estimator again.

    Parameters
    ----------
    tensors : dict of str to ndarray
        By their names in the file.
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self._tensors = tensors
        self._arrays: dict[str, NDArray[Any]] = {}

    def estimator(self, node: Any) -> Any:
        """Return the estimator of a node."""
        cls = estimator_class(node["class"])
        params = {key: self.value(value) for key, value in node["params"].items()}
        if cls is Pipeline:
            params["steps"] = [(str(key), self._step(step)) for key, step in node["steps"]]
        unknown = set(params) - set(cls._get_param_names())
        if unknown:
            raise ValueError(f"{cls.__name__} has no parameter {sorted(unknown)[0]!r}")
        estimator = cls(**params)
        estimator._validate_params()
        requests = node["state"].pop(_REQUESTS, None)
        if requests is not None:
            estimator._metadata_request = _requests(estimator, self.value(requests))
        for name, value in node["state"].items():
            # No attribute of the class itself: a file must not replace what the estimator does.
            if not _ATTRIBUTE.fullmatch(name) or name in params or hasattr(cls, name):
                raise ValueError(f"{name!r} is no fitted attribute of {cls.__name__}")
            vars(estimator)[name] = self.value(value)
        return estimator

    def _step(self, node: Any) -> Any:
        return node if node in (None, "passthrough") else self.estimator(node)

    def value(self, node: Any) -> Any:
        """Return the value of a node."""
        if isinstance(node, list):
            return [self.value(item) for item in node]
        if not isinstance(node, dict):
            return node
        tag = next(iter(node), "")
        if tag not in _DECODERS:
            raise ValueError(f"unknown kind of value {tag!r}")
        return _DECODERS[tag](self, node[tag], node)

    def items(self, node: Any) -> dict[Any, Any]:
        """Return the dict of a node of pairs."""
        return {self.value(key): self.value(value) for key, value in node}

    def array(self, name: str) -> NDArray[Any]:
        """Return an array; what shared one array when saved shares one again."""
        if name not in self._arrays:
            self._arrays[name] = np.array(self._tensors[name])
        return self._arrays[name]

    def series(self, pairs: Any) -> pd.Series:
        """Return values with their index."""
        keys, values = ([self.value(pair[i]) for pair in pairs] for i in (0, 1))
        # Made anew, since to count on says that the values have no names.
        counts_on = keys == list(range(len(keys)))
        return pd.Series(values, index=pd.RangeIndex(len(keys)) if counts_on else keys)

    def record(self, name: str, node: Any) -> Any:
        """Return a dataclass of the few that are known."""
        return _RECORDS[name](**self.items(node["fields"]))

    def state(self, name: str, node: Any) -> Any:
        """Return an object that knows how to store and rebuild itself."""
        return _STATEFUL[name].from_state(self.value(node["of"]))

    def frame(self, columns: Any, node: Any) -> pd.DataFrame:
        """Return a table with names of columns and index."""
        values = [self.value(cells) for _, cells in columns]
        if any(np.ndim(cells) != 1 or len(cells) != node["rows"] for cells in values):
            raise ValueError("a table has columns of different lengths")
        index: pd.Index[Any] = pd.RangeIndex(node["rows"])
        if node["index"] is not None:
            index = pd.Index([str(key) for key in node["index"]])
        data = {j: pd.Series(list(v) if v.dtype == object else v) for j, v in enumerate(values)}
        frame = pd.DataFrame(data, index=pd.RangeIndex(node["rows"])).set_axis(index, axis=0)
        frame.columns = pd.Index([self.value(name) for name, _ in columns])
        frame.index.name, frame.columns.name = node["names"]
        return frame


def _requests(estimator: Any, of_methods: Mapping[str, Mapping[str, Any]]) -> MetadataRequest:
    """What `set_fit_request` and its like had asked for."""
    request = MetadataRequest(owner=estimator)
    for method, wanted in of_methods.items():
        if method not in vars(request):
            raise ValueError(f"{method!r} is no method that metadata are routed to")
        for name, alias in wanted.items():
            getattr(request, method).add_request(param=name, alias=alias)
    return request


def _strings(cells: Any) -> NDArray[Any]:
    if not all(isinstance(cell, str) for cell in cells):
        raise ValueError("an array of text holds something else")
    return np.array(cells, dtype=object)


_DECODERS: dict[str, Callable[[Decoder, Any, Any], Any]] = {
    "$float": lambda self, v, _: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[v],
    "$tuple": lambda self, v, _: tuple(self.value(item) for item in v),
    "$dict": lambda self, v, _: self.items(v),
    "$series": lambda self, v, _: self.series(v),
    "$slice": lambda self, v, _: slice(*v),
    "$array": lambda self, v, _: self.array(v),
    "$strings": lambda self, v, _: _strings(v),
    "$frame": lambda self, v, node: self.frame(v, node),
    "$record": lambda self, v, node: self.record(v, node),
    "$state": lambda self, v, node: self.state(v, node),
    "$estimator": lambda self, v, _: self.estimator(v),
}
