"""The kernels that touch samples: Cython, GIL released."""
