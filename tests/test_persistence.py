"""Save and load: the same estimator comes back, and nothing else ever does."""

import errno
import json
import os
import pickle
import threading
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as to_bytes
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import adaptive_vq
from adaptive_vq import (
    AdaptiveRatioSelector,
    FeatureCharacterizer,
    FeatureCleaner,
    HierarchicalVQVAE,
    load,
    persistence,
    save,
)
from adaptive_vq._sealed import seal

OLD = Path(__file__).parent / "files" / "pipeline_schema1.safetensors"
TINY = {"max_epochs": 1, "group_hidden_dim": 4, "group_embedding_dim": 4, "beam_width": 2}
TINY |= {"random_state": 0}


def codec(**params):
    return HierarchicalVQVAE(**(TINY | params))


def pipeline(**params):
    return Pipeline(
        [
            ("clean", FeatureCleaner()),
            ("characterize", FeatureCharacterizer("prefix")),
            ("ratios", AdaptiveRatioSelector("uniform", bits=12, n_levels=2)),
            ("vq", codec(**params)),
        ]
    )


def assert_same(a, b, where="estimator"):
    """Same class, parameters and fitted attributes, cell by cell."""
    assert type(a) is type(b), where
    if isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b, strict=True, err_msg=where)
    elif isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{i}]")
    elif is_dataclass(a):
        for f in fields(a):
            assert_same(getattr(a, f.name), getattr(b, f.name), f"{where}.{f.name}")
    elif hasattr(a, "__dict__") and not isinstance(a, type):
        # Through the state: what a pickle would not hold, a file need not hold either.
        one, other = (e.__getstate__() if hasattr(e, "get_params") else vars(e) for e in (a, b))
        assert_same(dict(sorted(one.items())), dict(sorted(other.items())), where)
    else:
        assert a == b or (a != a and b != b), where


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((80, 2))
    names = [f"{family}__{j}" for family in "ab" for j in range(3)]
    X = pd.DataFrame(
        np.repeat(factors, 3, axis=1) + 0.3 * rng.standard_normal((80, 6)), None, names
    )
    X["a__twin"] = 3.0 * X["a__0"] - 1.0
    X["b__constant"] = 5.0
    X.iloc[4, 1] = np.nan
    return X


@pytest.fixture(scope="module")
def fitted(table):
    return pipeline().fit(table)


@pytest.fixture
def saved(fitted, tmp_path):
    path = tmp_path / "model.safetensors"
    save(fitted, path)
    return path


def tampered(path, edit):
    """Change a file as somebody who knows the format would: with a right digest."""
    content = path.read_bytes()
    tensors = {name: array.copy() for name, array in read_tensors(content).items()}
    length = int.from_bytes(content[:8], "little")
    entry = json.loads(content[8 : 8 + length])["__metadata__"]["adaptive_vq"]
    document = json.loads(entry)["document"]
    edit(document, tensors)
    path.write_bytes(seal(document, tensors))


def node(document, step):
    return dict(document["estimator"]["steps"])[step]


# --------------------------------------------------------------------------- there and back
def test_a_pipeline_comes_back_and_gives_the_same_codes(fitted, saved, table):
    back = load(saved)
    assert_same(fitted, back)
    codes = fitted.transform(table)
    assert back.transform(table).tobytes() == codes.tobytes()
    pd.testing.assert_frame_equal(back.inverse_transform(codes), fitted.inverse_transform(codes))
    assert back.score(table) == fitted.score(table)


@pytest.mark.parametrize(
    "estimator",
    [
        FeatureCleaner(caps="mad", keep="informative", fill="mean"),
        FeatureCharacterizer(),
        FeatureCharacterizer(
            {"one": ["a__0", "a__1", "a__2", "a__twin"], "two": slice(3, 6)}, clip=(1.0, 99.0)
        ),
        AdaptiveRatioSelector("rate_distortion", bits=10),
        AdaptiveRatioSelector(["variance", "uniform"], bits=10, n_levels=2),
        AdaptiveRatioSelector(characterizer=FeatureCharacterizer("prefix"), bits=10),
        codec(bits=12, n_levels=2),
        codec(compression_ratios="0.5:1", bits=12, scaler="quantile", context="joint"),
        codec(compression_ratios=AdaptiveRatioSelector("water_filling", bits=12), scaler=None),
        codec(compression_ratios=[1.0], codebook_sizes=[4], bits=16, encode="onehot", clip=None),
        codec(cleaner=FeatureCleaner(), bits=12, scaler="robust", encode="token"),
        codec(bits=12, encode="embedding", max_epochs=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.parametrize("kind", ["frame", "array"])
def test_every_estimator_comes_back(estimator, kind, table, tmp_path):
    X = table if kind == "frame" else table.to_numpy()
    if kind == "array" and "a__0" in repr(estimator):
        pytest.skip("names columns")
    if kind == "array" and "prefix" in repr(estimator):
        pytest.skip("needs names")
    fitted = clone(estimator).fit(X)
    save(fitted, tmp_path / "model")
    back = load(tmp_path / "model")
    assert_same(fitted, back)
    one, other = fitted.transform(X), back.transform(X)
    if hasattr(one, "toarray"):
        one, other = one.toarray(), other.toarray()
    np.testing.assert_array_equal(np.asarray(one), np.asarray(other), strict=True)


@pytest.mark.parametrize(
    ("fitted_with", "set_since"), [(FeatureCleaner(), None), (None, FeatureCleaner())]
)
def test_a_cleaner_set_after_the_fit_keeps_no_model_from_loading(
    fitted_with, set_since, table, tmp_path
):
    vq = codec(cleaner=fitted_with, bits=12).fit(table).set_params(cleaner=set_since)
    save(vq, tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model").transform(table), vq.transform(table))


def test_an_estimator_that_was_not_fitted_comes_back(tmp_path):
    for estimator in (pipeline(bits=None), FeatureCleaner(fill="median"), codec(clip=(1, 99))):
        save(estimator, tmp_path / "model")
        back = load(tmp_path / "model")
        assert repr(back) == repr(estimator)
        assert not hasattr(back, "n_features_in_")


def test_what_shared_an_array_shares_one_again(fitted, saved):
    back = load(saved)
    name, book = next(iter(back[-1].codebooks_.items()))
    assert any(book is array for array in back[-1]._state.values()), name


def test_a_loaded_codec_goes_on_learning_like_the_one_saved(table, tmp_path):
    fitted = codec(bits=12, n_levels=2).fit(table)
    save(fitted, tmp_path / "model")
    back = load(tmp_path / "model")
    assert_same(fitted.partial_fit(table[:40]), back.partial_fit(table[:40]))
    assert_same(clone(fitted).fit(table), clone(back).fit(table))


def test_streams_go_on_and_plain_fits_store_no_rows(table, tmp_path):
    plain, stream = FeatureCleaner().fit(table), FeatureCleaner().partial_fit(table[:40])
    save(plain, tmp_path / "plain")
    save(stream, tmp_path / "stream")
    stored = read_tensors((tmp_path / "plain").read_bytes())
    assert not any(array.ndim == 2 for array in stored.values())
    with pytest.raises(ValueError, match="hold no rows"):
        load(tmp_path / "plain").partial_fit(table[40:])
    assert_same(load(tmp_path / "stream").partial_fit(table[40:]), stream.partial_fit(table[40:]))


def test_output_setting_comes_back_and_callbacks_do_not(table, tmp_path):
    fitted = pipeline().set_output(transform="pandas").set_callbacks(ProgressBar())
    save(fitted, tmp_path / "model")
    back = load(tmp_path / "model").fit(table)
    assert list(back.transform(table).columns) == list(back[-1].get_feature_names_out())
    assert not hasattr(back, "_skl_callbacks")


def test_the_header_says_what_the_file_is(saved, table):
    document = persistence.read_document(saved)
    assert document["schema"] == persistence.SCHEMA
    assert document["versions"]["adaptive-vq"] == adaptive_vq.__version__
    assert {"numpy", "scikit-learn", "torch", "pandas"} <= set(document["versions"])
    assert document["columns"]["n"] == table.shape[1]
    assert document["columns"]["named"] is True
    other = pipeline().fit(table.rename(columns={"a__0": "a__zero"}))
    save(other, saved)
    assert persistence.read_document(saved)["columns"]["digest"] != document["columns"]["digest"]


def test_a_file_of_an_older_version_keeps_loading(table):
    back = load(OLD)
    codes = back.transform(table)
    expected = np.load(OLD.with_suffix(".npy"))
    # Other processors may round a distance the other way.
    assert np.mean(codes == expected) >= 0.99
    assert back.score(table) == pytest.approx(0.9828, abs=0.002)


# ------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (FeatureCharacterizer({"a": lambda X: ["x"]}), r"categories=.*function is code"),
        (FeatureCharacterizer(KMeans(3)), r"categories=.*another library"),
        (AdaptiveRatioSelector(lambda scores, level: 1.0), r"strategy=.*function is code"),
        (codec(scaler=StandardScaler()), r"HierarchicalVQVAE\(scaler=.*another library"),
        (codec(encoders={"a": torch.nn.Linear(2, 2)}), r"encoders=.*network of your own.*pickle"),
        (codec(random_state=np.random.RandomState(0)), r"random_state=.*whole number"),
        (Pipeline([("scale", StandardScaler()), ("vq", codec())]), r"scale is a sklearn.*joblib"),
        (LogisticRegression(), "LogisticRegression"),
        (codec(bits=0), "bits"),
    ],
)
def test_code_is_refused_by_name_when_saved(estimator, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save(estimator, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_subclass_is_refused(tmp_path):
    class Mine(FeatureCleaner):
        pass

    with pytest.raises(ValueError, match="Mine"):
        save(Mine(), tmp_path / "model")


@pytest.mark.parametrize("keep", [0, 4, 8, 100, 0.5, -1])
def test_a_truncated_file_is_refused(saved, keep):
    content = saved.read_bytes()
    keep = int(keep * len(content)) if isinstance(keep, float) else keep
    saved.write_bytes(content[:keep])
    with pytest.raises(ValueError, match=r"model.safetensors can not be loaded.*save the model"):
        load(saved)


def test_a_flipped_bit_anywhere_is_refused(saved):
    content = bytearray(saved.read_bytes())
    for place in np.linspace(0, len(content) - 1, 60).astype(int):
        changed = bytearray(content)
        changed[place] ^= 4
        saved.write_bytes(changed)
        with pytest.raises(ValueError, match="can not be loaded"):
            load(saved)


class Payload:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


def test_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ValueError, match="can not be loaded"):
        load("model")
    torch.save({"a": torch.zeros(2)}, "zip")
    with pytest.raises(ValueError, match="can not be loaded"):
        load("zip")
    assert not Path("pwned").exists()


def test_another_safetensors_file_is_refused(tmp_path):
    (tmp_path / "model").write_bytes(to_bytes({"weight": np.zeros(3)}))
    with pytest.raises(ValueError, match=r"not written by adaptive_vq\.save"):
        load(tmp_path / "model")


def _edit(step, **changes):
    """Set items of a step's state, each given as JSON value."""

    def edit(document, tensors):
        node(document, step)["state"].update(changes)

    return edit


def _param(step, **changes):
    def edit(document, tensors):
        node(document, step)["params"].update(changes)

    return edit


def _layout(**changes):
    def edit(document, tensors):
        pairs = node(document, "vq")["state"]["_layout"]["$dict"]
        for pair in pairs:
            pair[1] = changes.get(pair[0], pair[1])

    return edit


def _units(**changes):
    def edit(document, tensors):
        pairs = node(document, "vq")["state"]["units_"]["of"]["$dict"]
        for pair in pairs:
            pair[1] = changes.get(pair[0], pair[1])

    return edit


def _tensor(part, change):
    def edit(document, tensors):
        name = next(name for name in tensors if part in name)
        tensors[name] = change(tensors[name])

    return edit


def _class(name):
    def edit(document, tensors):
        node(document, "vq")["class"] = name

    return edit


def _nested(document, tensors):
    value = []
    for _ in range(900):
        value = [value]
    node(document, "vq")["state"]["deep_"] = value


def _drop(step, name):
    return lambda document, tensors: node(document, step)["state"].pop(name)


TABLE = {
    "$frame": [[None, {"$strings": ["x", "x"]}]],
    "rows": 2,
    "index": ["a", "b"],
    "names": [None, None],
}
HOSTILE = {
    "newer schema": (lambda d, t: d.update(schema=99), "newer"),
    "no schema": (lambda d, t: d.pop("schema"), "schema"),
    "odd schema": (lambda d, t: d.update(schema="1"), "version '1'"),
    "no estimator": (lambda d, t: d.pop("estimator"), "estimator"),
    "other class": (_class("os.system"), "unknown class 'os.system'"),
    "wrong class": (_class("FeatureCleaner"), "no parameter"),
    "method replaced": (_edit("vq", transform=1), "'transform' is no fitted attribute"),
    "class replaced": (_edit("vq", __class__="int"), "'__class__' is no fitted"),
    "property path": (_edit("vq", **{"a.b": 1}), "no fitted attribute"),
    "unknown parameter": (_param("vq", command="rm"), "no parameter 'command'"),
    "impossible parameter": (_param("vq", beam_width=-3), "beam_width"),
    "unknown tag": (_edit("vq", x_={"$eval": "1"}), "unknown kind of value"),
    "unknown record": (_edit("vq", x_={"$record": "Popen", "fields": []}), "Popen"),
    "missing array": (_edit("vq", x_={"$array": "/etc/passwd"}), "/etc/passwd"),
    "deep nesting": (_nested, "can not be loaded"),
    "no codebooks": (_drop("vq", "codebooks_"), "codebooks_"),
    "no columns": (_drop("vq", "n_features_in_"), "n_features_in_"),
    "no plan": (_drop("ratios", "plan_"), "plan_"),
    "no caps": (_drop("clean", "lower_"), "lower_"),
    "layout asks for much": (_layout(hidden=10**12), "wrong type, shape"),
    "layout asks for too much": (_layout(hidden=10**30), "can not be loaded"),
    "layout of other width": (_layout(n_features=3), "_layout"),
    "many levels": (_layout(n_levels=10**9), "_layout"),
    "digest of columns": (lambda d, t: d["columns"].update(digest="0"), "training columns"),
    "weights of another type": (
        _tensor("_state.correction.0.bias", lambda a: a.astype(np.float64)),
        "wrong type, shape",
    ),
    "weights of another shape": (
        _tensor("_state.correction.0.bias", lambda a: a[:2]),
        "wrong type, shape",
    ),
    "no number among weights": (
        _tensor("_state.correction.0.bias", lambda a: a * np.nan),
        "wrong type",
    ),
    "codebook of another shape": (
        _tensor("_state.codebooks.0.weight", lambda a: a[:, :0]),
        "can not be loaded",
    ),
    "column out of range": (_tensor("categories_", lambda a: a + 100), "categories_"),
    "columns twice": (_tensor("categories_", lambda a: a * 0), "categories_"),
    "kept column out of range": (_tensor("kept_", lambda a: a - 50), "kept_"),
    "caps of another width": (_tensor("lower_", lambda a: np.append(a, 1.0)), "lower_"),
    "hits of other codewords": (_tensor("training_.codes", lambda a: a[1:]), "training_"),
    "units of nothing": (_tensor("units_.scale", lambda a: a * 0), "units_.scale_"),
    "units that are no numbers": (_tensor("units_.center", lambda a: a * np.nan), "units_.center_"),
    "spread below nothing": (_tensor("units_.variance", lambda a: -1 - a), "units_.variance_"),
    "caps the wrong way round": (_tensor("units_.lower", lambda a: a + 1e9), "units_.lower_"),
    "caps that are no numbers": (_tensor("clean.upper_", lambda a: a * np.nan), "lower_"),
    "fill that is no number": (_tensor("clean._median", lambda a: a * np.nan), "fill_"),
    "means that are no numbers": (_tensor("a.mean", lambda a: a * np.nan), "_imputer.mean_"),
    "units of an unknown kind": (_units(scaler=1), "units_.scaler"),
    "encoders of its own": (_edit("vq", _encoders="x"), "_encoders"),
    "figures without names": (_edit("vq", decisions_=TABLE), "decisions_"),
    "float bits": (_edit("vq", bits_={"$dict": [["a", [1.5]], ["b", [2.5]]]}), "bits_"),
}


@pytest.mark.parametrize(("edit", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_refused(saved, edit, message):
    tampered(saved, edit)
    with pytest.raises(ValueError, match=message) as caught:
        load(saved)
    assert str(saved) in str(caught.value)


def test_tampering_without_effect_loads(saved, fitted):
    tampered(saved, lambda document, tensors: None)
    assert_same(fitted, load(saved))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere")


# --------------------------------------------------------------------------- atomic writing
def test_a_full_disk_leaves_the_old_file_as_it_was(saved, fitted, monkeypatch):
    before = saved.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(FeatureCleaner(), saved)
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert [found.name for found in saved.parent.iterdir()] == [saved.name]


def test_saving_follows_a_link_and_refuses_what_is_no_file(tmp_path, fitted):
    real, link = tmp_path / "real", tmp_path / "link"
    save(FeatureCleaner(), real)
    link.symlink_to(real)
    save(fitted, link)
    assert link.is_symlink()
    assert_same(fitted, load(real))
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="no regular file"):
        save(fitted, tmp_path / "folder")
    with pytest.raises(FileNotFoundError, match="create it first"):
        save(fitted, tmp_path / "none" / "model")


def test_a_separator_at_the_end_is_that_of_a_folder(tmp_path, fitted):
    for path in (f"{tmp_path}/new/", f"{tmp_path}{os.sep}"):
        with pytest.raises(IsADirectoryError, match="is the name of a folder"):
            save(fitted, path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="is no file: give the path of one"):
        codec(checkpoint=f"{tmp_path}/new/").fit(np.eye(4))


@pytest.mark.skipif(not Path("/dev/zero").is_char_device(), reason="needs devices of Unix")
def test_devices_are_refused_since_some_have_no_end():
    for device in ("/dev/null", "/dev/zero"):  # the first one ends, if it is not refused
        for read in (load, persistence.read_document):
            with pytest.raises(OSError, match=f"{device} is a device"):
                read(device)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_models_are_read_from_pipes(saved, fitted, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(saved.read_bytes(),), daemon=True)
    writer.start()
    assert_same(fitted, load(pipe))
    writer.join()


def test_the_same_estimator_gives_the_same_bytes(fitted, saved, tmp_path):
    save(fitted, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


def test_real_tables_keep_their_codes(real_table, tmp_path):
    X = real_table("credit_default").data[:500]
    fitted = codec(bits=16, early_stopping=False).fit(X)
    save(fitted, tmp_path / "model")
    assert load(tmp_path / "model").transform(X).tobytes() == fitted.transform(X).tobytes()
