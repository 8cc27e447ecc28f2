"""Tests for seeding.py."""

import uuid

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from robopref.seeding import derive_seed, derive_uuid, make_generator, make_rng

paths = st.lists(st.one_of(st.text(max_size=5), st.integers(0, 100)), max_size=3).map(tuple)
seeds = st.integers(0, 2**40)


@given(seeds, paths)
def test_a_seed_fits_what_takes_seeds(seed, path):
    derived = derive_seed(seed, *path)
    assert 0 <= derived < 2**63
    assert derived == derive_seed(seed, *path)
    np.random.default_rng(derived)
    torch.Generator().manual_seed(derived)


@given(seeds, paths, seeds, paths)
def test_other_words_give_another_stream(seed, path, other_seed, other_path):
    same = (seed, *map(repr, path)) == (other_seed, *map(repr, other_path))
    slashes = any(isinstance(part, str) and "/" in part for part in (*path, *other_path))
    if not same and not slashes:  # A slash in a word could join two words; none of ours has one.
        assert derive_seed(seed, *path) != derive_seed(other_seed, *other_path)


def test_a_number_is_not_the_word_that_looks_like_it():
    assert derive_seed(0, "episode", 1) != derive_seed(0, "episode", "1")


def test_seeds_stay_what_they_are():
    # From sha256 of "7/str:collect/int:3"; a change here would make every old run unrepeatable.
    import hashlib

    digest = hashlib.sha256(b"7/str:collect/int:3").digest()
    assert derive_seed(7, "collect", 3) == int.from_bytes(digest[:8], "little") // 2


def test_streams_repeat_and_differ():
    first = make_rng(0, "a").standard_normal(1000)
    assert np.array_equal(first, make_rng(0, "a").standard_normal(1000))
    assert abs(np.corrcoef(first, make_rng(0, "b").standard_normal(1000))[0, 1]) < 0.15
    draws = torch.randn(5, generator=make_generator(0, "a"))
    assert torch.equal(draws, torch.randn(5, generator=make_generator(0, "a")))
    assert not torch.equal(draws, torch.randn(5, generator=make_generator(1, "a")))


def test_making_a_generator_leaves_the_global_ones_alone():
    state, numpy_state = torch.get_rng_state(), repr(np.random.get_state())  # noqa: NPY002
    make_generator(0, "a")
    make_rng(0, "a")
    derive_uuid(0, "a")
    assert torch.equal(state, torch.get_rng_state())
    assert numpy_state == repr(np.random.get_state())  # noqa: NPY002


def test_uuids_are_valid_and_repeat():
    identity = derive_uuid(0, "episode", 5)
    assert uuid.UUID(identity).version == 4
    assert identity == derive_uuid(0, "episode", 5)
    assert len({derive_uuid(0, "episode", i) for i in range(1000)}) == 1000
