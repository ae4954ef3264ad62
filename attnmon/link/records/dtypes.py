"""The element types of arrays in the ring, and what they are called elsewhere."""

from typing import NamedTuple


class DType(NamedTuple):
    """An element type of an array."""

    itemsize: int
    """Bytes of one element."""
    safetensors: str
    """Its name in the safetensors format."""
    numpy: str
    """The numpy type that its bytes are read as. numpy has no bfloat16."""


DTYPES = {
    "float64": DType(8, "F64", "float64"),
    "float32": DType(4, "F32", "float32"),
    "float16": DType(2, "F16", "float16"),
    "bfloat16": DType(2, "BF16", "uint16"),
    "uint8": DType(1, "U8", "uint8"),
    "uint32": DType(4, "U32", "uint32"),
    "int32": DType(4, "I32", "int32"),
    "bool": DType(1, "BOOL", "bool"),
}
"""By the name that messages use, which is torch's."""
