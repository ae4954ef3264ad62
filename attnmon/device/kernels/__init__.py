"""The Triton kernels. They are imported where one is launched: Triton comes with CUDA alone."""


def hash_first(*functions: object) -> None:
    """Have Triton hash functions that kernels call, in an order in which none calls a later one.

    The key of a kernel in its cache depends on whether these were hashed before it, as they are or
    are not in another process.
    """
    for function in functions:
        getattr(function, "cache_key", None)
