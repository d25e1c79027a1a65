# cython: boundscheck=False, wraparound=False
"""Pool: memory for frames that is used again instead of being returned to the system at every ping.

A fresh 3 MB array costs the page faults of its first touch (about 0.5 ms) at every ping; a recycled one does not.
"""

from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdlib cimport free
from libc.stdint cimport uintptr_t

import numpy as np

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t size)

cdef size_t ALIGNMENT = 64  # one cache line; vector loads never split a line
cdef Py_ssize_t MAX_SIZES = 16  # a damaged stream may ask for ever new sizes; unused ones must not add up


cdef class _Block:
    """Owner of one piece of memory. Arrays (and their views) keep it alive; when the last dies, the pool has it."""

    cdef void *memory
    cdef size_t capacity
    cdef Pool pool

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.memory, <Py_ssize_t>self.capacity, 0, flags)

    def __dealloc__(self):
        if self.memory != NULL:
            self.pool._give_back(self.memory, self.capacity)


cdef class Pool:
    """Recycles the memory of arrays of equal size.

    Safe to use from several threads (the GIL guards the free list). Nobody can see an array being overwritten: memory
    comes back only when no array or view refers to it any more.
    """

    cdef dict _free          # capacity -> list of addresses
    cdef readonly Py_ssize_t keep
    cdef readonly Py_ssize_t allocated
    cdef readonly Py_ssize_t reused

    def __init__(self, Py_ssize_t keep=16):
        """Keep at most `keep` unused pieces of each size; more are returned to the system."""
        self._free = {}
        self.keep = keep
        self.allocated = 0
        self.reused = 0

    def take(self, shape, dtype):
        """Return an uninitialised C-ordered array. The caller writes every element before anyone reads it."""
        cdef _Block block
        cdef uintptr_t address
        dtype = np.dtype(dtype)
        count = 1
        for length in shape:
            count *= length
        cdef size_t capacity = max(count * dtype.itemsize, 1)
        block = _Block.__new__(_Block)
        block.pool = self
        stack = self._free.get(capacity)
        if stack:
            address = stack.pop()
            block.memory = <void *>address
            self.reused += 1
        else:
            if posix_memalign(&block.memory, ALIGNMENT, capacity) != 0:
                block.memory = NULL
                raise MemoryError(f"{capacity} bytes for a frame")
            self.allocated += 1
        block.capacity = capacity
        return np.frombuffer(block, dtype=dtype, count=count).reshape(shape)

    cdef _give_back(self, void *memory, size_t capacity):
        stack = self._free.get(capacity)
        if stack is None:
            if len(self._free) >= MAX_SIZES:
                self._release()
            stack = self._free[capacity] = []
        if len(stack) < self.keep:
            stack.append(<uintptr_t>memory)
        else:
            free(memory)

    cdef _release(self):
        """Return all unused memory to the system."""
        cdef uintptr_t address
        for stack in self._free.values():
            for item in stack:
                address = item
                free(<void *>address)
        self._free.clear()

    def __dealloc__(self):
        if self._free is not None:
            self._release()
