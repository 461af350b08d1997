"""Model files that were damaged or forged: refused by name, without running or allocating much.

`pytest --hypothesis-profile long` tries twenty times as many.
"""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as read_safetensors
from sklearn.pipeline import Pipeline

from adaptive_vq import AdaptiveRatioSelector, FeatureCharacterizer, HierarchicalVQVAE, load, save
from adaptive_vq._sealed import ENTRY, seal, unseal
from adaptive_vq.persistence import read_document

many = settings(max_examples=settings().max_examples)
few = settings(max_examples=settings().max_examples // 4)
MIB = 2**20


class Content(bytes):
    """Bytes of a file, too long to print."""

    def __repr__(self):
        return f"<{len(self)} bytes>"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "model.safetensors"


@pytest.fixture(scope="module")
def content(place):
    X = np.random.default_rng(0).normal(size=(60, 2))[:, [0, 0, 1, 1]]
    small = {"max_epochs": 1, "beam_width": 2, "group_hidden_dim": 4, "group_embedding_dim": 4}
    pipe = Pipeline(
        [
            ("characterize", FeatureCharacterizer()),
            ("ratios", AdaptiveRatioSelector("uniform", bits=6)),
            ("vq", HierarchicalVQVAE(random_state=0, **small)),
        ]
    ).fit(X)
    save(pipe, place)
    return Content(place.read_bytes())


def refused(place, content):
    """Loading raises the one named error, in little memory."""
    place.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"model.safetensors can not be loaded"):
            load(place)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * MIB + 20 * len(content)


@many
@given(data=st.data())
def test_flipped_bits(place, content, data):
    changed = bytearray(content)
    spots = st.integers(0, 8 * len(content) - 1)
    for spot in data.draw(st.lists(spots, min_size=1, max_size=8, unique=True)):
        changed[spot // 8] ^= 1 << (spot % 8)
    refused(place, bytes(changed))


@many
@given(data=st.data())
def test_cut_and_spliced_files(place, content, data):
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    filling = data.draw(st.binary(max_size=64))
    changed = content[:start] + filling + content[end:]
    if changed != content:
        refused(place, changed)


@many
@given(noise=st.binary(max_size=400), header=st.booleans())
def test_noise(place, content, noise, header):
    refused(place, content[:8] + noise if header else noise)


@many
@given(length=st.integers(0, 2**64 - 1))
def test_any_length_of_the_header(place, content, length):
    if length != int.from_bytes(content[:8], "little"):
        refused(place, length.to_bytes(8, "little") + content[8:])


@many
@given(
    which=st.integers(0, 1000),
    entry=st.one_of(
        st.tuples(st.just("dtype"), st.sampled_from(["F64", "F32", "I64", "BOOL", "F16", "X9"])),
        st.tuples(st.just("shape"), st.lists(st.integers(0, 2**63), max_size=4)),
        st.tuples(st.just("data_offsets"), st.lists(st.integers(0, 2**63), min_size=2, max_size=2)),
    ),
)
def test_forged_shapes_and_offsets(place, content, which, entry):
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    # An array without cells may stand anywhere in the file.
    names = sorted(n for n in header if n != "__metadata__" and 0 not in header[n]["shape"])
    of_array = header[names[which % len(names)]]
    if of_array[entry[0]] != entry[1]:
        of_array[entry[0]] = entry[1]
        text = json.dumps(header).encode()
        refused(place, len(text).to_bytes(8, "little") + text + content[8 + length :])


# --- forgeries with a right digest ---------------------------------------------------------------


def leaves(value, path=()):
    """Paths to all single values in a JSON document."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for key, inner in enumerate(value):
            yield from leaves(inner, (*path, key))
    else:
        yield path


NASTY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([10**6, 10**9, 10**12, -1, 0]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from([[], {}, {"$array": "x"}, {"$dict": []}, {"$record": "x"}, [[[]]]]),
)


@few
@given(data=st.data())
def test_forged_documents_load_or_are_refused(place, content, data):
    document, tensors = unseal(content)
    document = json.loads(json.dumps(document))
    paths = sorted(leaves(document), key=str)
    *way, last = data.draw(st.sampled_from(paths))
    inner = document
    for key in way:
        inner = inner[key]
    inner[last] = data.draw(NASTY)
    loads_or_is_refused(place, seal(document, tensors))


@few
@given(data=st.data())
def test_forged_arrays_load_or_are_refused(place, content, data):
    document, tensors = unseal(content)
    name = data.draw(st.sampled_from(sorted(tensors)))
    array = tensors[name]
    changes = {
        "numbers": lambda: np.full_like(array, data.draw(st.sampled_from([0, 1, 100]))),
        "no numbers": lambda: (array * np.float32("nan")).astype(np.float32),
        "type": lambda: array.astype(data.draw(st.sampled_from(["f4", "f8", "i8", "u1", "?"]))),
        "shape": lambda: array[None],
        "fewer": lambda: array[:-1] if array.ndim else array,
        "more": lambda: np.concatenate([np.atleast_1d(array)] * 2),
        "none": lambda: array[:0] if array.ndim else array,
    }
    tensors = {**tensors, name: changes[data.draw(st.sampled_from(sorted(changes)))]()}
    loads_or_is_refused(place, seal(document, tensors))


def loads_or_is_refused(place, content):
    """What loads transforms or raises a named error; neither takes much memory."""
    place.write_bytes(content)
    tracemalloc.start()
    try:
        try:
            model = load(place)
        except ValueError as error:
            assert "can not be loaded" in str(error)  # noqa: PT017 (loading may also succeed)
            model = None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * MIB + 20 * len(content)
    if model is not None:
        read_document(place)


def test_the_seal_of_forgeries_is_right(place, content):
    document, tensors = unseal(content)
    assert unseal(seal(document, tensors))[0] == document
    assert set(read_safetensors(content)) == set(tensors)
    assert ENTRY.encode() in content


def test_the_seal_tells_types_of_the_same_bytes_apart():
    sealed = seal({"schema": 1}, {"words": np.ones(2, np.float32)})
    forged = sealed.replace(b'"F32"', b'"I32"')
    assert read_safetensors(forged)["words"].dtype == np.int32
    with pytest.raises(ValueError, match="does not match its digest"):
        unseal(forged)
    assert unseal(sealed)[1]["words"].dtype == np.float32
