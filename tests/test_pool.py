"""The pool: memory is used again, but never while anybody can see it."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from nims_ext.pool import Pool


def test_arrays_have_the_asked_shape_and_alignment() -> None:
    array = Pool().take((5, 7), np.complex64)
    assert (array.shape, array.dtype) == ((5, 7), np.complex64)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.ctypes.data % 64 == 0


def test_memory_comes_back_when_the_last_view_dies() -> None:
    pool = Pool()
    array = pool.take((100, 10), np.float32)
    address = array.ctypes.data
    view = array[50:, ::2].T
    del array
    gc.collect()
    other = pool.take((100, 10), np.float32)
    assert other.ctypes.data != address, "the view still shows the first memory"
    del view
    gc.collect()
    assert pool.take((100, 10), np.float32).ctypes.data == address
    assert pool.reused == 1


def test_sizes_are_not_mixed() -> None:
    pool = Pool()
    small = pool.take((10,), np.uint8)
    del small
    large = pool.take((1000,), np.uint8)
    large[:] = 7
    assert pool.reused == 0


def test_no_more_than_asked_is_kept() -> None:
    pool = Pool(keep=2)
    arrays = [pool.take((10,), np.float64) for _ in range(5)]
    del arrays
    gc.collect()
    again = [pool.take((10,), np.float64) for _ in range(5)]
    assert pool.reused == 2
    assert len({array.ctypes.data for array in again}) == 5


def test_ever_new_sizes_do_not_add_up() -> None:
    pool = Pool()
    kept = pool.take((1000,), np.uint8)
    kept[:] = 7
    for size in range(1, 500):
        pool.take((size,), np.float64)
    gc.collect()
    for size in range(1, 500):
        pool.take((size,), np.float64)
    assert pool.reused < 20, "unused sizes were forgotten"
    assert (kept == 7).all()


def test_arrays_outlive_the_pool() -> None:
    array = Pool().take((1000,), np.float64)
    array[:] = 3.0
    gc.collect()
    assert array.sum() == 3000.0


def test_an_empty_array_is_possible() -> None:
    assert Pool().take((0, 4), np.float32).shape == (0, 4)


def test_too_much_is_a_memory_error() -> None:
    with pytest.raises(MemoryError):
        Pool().take((2**60,), np.uint8)


def test_two_threads_never_hold_the_same_memory() -> None:
    pool = Pool()
    clashes: list[int] = []

    def work(value: int) -> None:
        for _ in range(2000):
            array = pool.take((64,), np.int64)
            array[:] = value
            if (array != value).any():
                clashes.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not clashes
