"""Vectors of GROUP samples as values that Numba kernels compute with.

A kernel of one neuron and one sample has too little to do for a vector unit. Here a value is a vector: GROUP float32
numbers (`FloatLanes`), GROUP 32-bit words (`WordLanes`) or GROUP flags (`FlagLanes`), one lane to a sample. Voltages
and spike trains then stay in registers through all steps of a presentation. LLVM splits each into what the machine has
(two registers with AVX-512, four with AVX2), and the parts hide one another's latencies.

    +, -, *     lane by lane; no fused multiply-add, so a plain NumPy loop gives the same numbers
    &, |, ^     lane by lane, words and flags
    a >> b      of words, by as many bits as b says
    a >= b      flags, of floats
    load, store, splat, where, lacks_bit, count_bits, any_bit, lane_numbers, square_root, to_floats, as_floats, as_words

No value of these types leaves a compiled function: they are loaded from and stored to rows of arrays.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model
from numpy.typing import NDArray

GROUP = 32  # samples that a kernel advances together
ALIGNMENT = 64  # bytes of a cache line, and of the widest register

_BIT = ir.IntType(1)
_I32 = ir.IntType(32)


def aligned_zeros(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Zeros that begin at a cache line, so that no vector in a row of GROUP lies across more lines than it must."""
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(n_bytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    zeros: NDArray[Any] = memory[start : start + n_bytes].view(dtype).reshape(shape)
    return zeros


class FloatLanes(types.Type):
    """GROUP float32 numbers."""

    vector = ir.VectorType(ir.FloatType(), GROUP)

    def __init__(self) -> None:
        super().__init__(name=f"FloatLanes{GROUP}")


class WordLanes(types.Type):
    """GROUP uint32 words, or int32 numbers modulo 2^32."""

    vector = ir.VectorType(_I32, GROUP)

    def __init__(self) -> None:
        super().__init__(name=f"WordLanes{GROUP}")


class FlagLanes(types.Type):
    """GROUP booleans."""

    vector = ir.VectorType(_BIT, GROUP)

    def __init__(self) -> None:
        super().__init__(name=f"FlagLanes{GROUP}")


FLOATS, WORDS, FLAGS = FloatLanes(), WordLanes(), FlagLanes()
_LANES_OF: dict[Any, Any] = {types.float32: FLOATS, types.uint32: WORDS}


def _register(kind: Any) -> None:
    @register_model(kind)
    class _Model(models.PrimitiveModel):
        def __init__(self, manager: Any, lanes: Any) -> None:
            super().__init__(manager, lanes, lanes.vector)


for _kind in (FloatLanes, WordLanes, FlagLanes):
    _register(_kind)


def _operator(symbol: Any, result: Any, operand: Any, emit: Callable[[Any, Any, Any], Any]) -> None:
    """Give Numba an operator between two vectors of one kind."""

    class _Template(ConcreteTemplate):
        cases = [signature(result, operand, operand)]  # noqa: RUF012

    infer_global(symbol)(_Template)

    @lower_builtin(symbol, type(operand), type(operand))
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit(builder, *args)


_operator(operator.add, FLOATS, FLOATS, lambda builder, a, b: builder.fadd(a, b))
_operator(operator.sub, FLOATS, FLOATS, lambda builder, a, b: builder.fsub(a, b))
_operator(operator.mul, FLOATS, FLOATS, lambda builder, a, b: builder.fmul(a, b))
_operator(operator.ge, FLAGS, FLOATS, lambda builder, a, b: builder.fcmp_ordered(">=", a, b))
_operator(operator.add, WORDS, WORDS, lambda builder, a, b: builder.add(a, b))
_operator(operator.sub, WORDS, WORDS, lambda builder, a, b: builder.sub(a, b))
_operator(operator.mul, WORDS, WORDS, lambda builder, a, b: builder.mul(a, b))
_operator(operator.rshift, WORDS, WORDS, lambda builder, a, b: builder.lshr(a, b))
_lanes: Any
for _lanes in (WORDS, FLAGS):
    _operator(operator.and_, _lanes, _lanes, lambda builder, a, b: builder.and_(a, b))
    _operator(operator.or_, _lanes, _lanes, lambda builder, a, b: builder.or_(a, b))
    _operator(operator.xor, _lanes, _lanes, lambda builder, a, b: builder.xor(a, b))


def _splat(builder: Any, value: Any, vector: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, GROUP), [0] * GROUP))


@intrinsic
def splat(typingctx, value):  # type: ignore[no-untyped-def]
    """A float32 or uint32 in every lane."""
    lanes = _LANES_OF.get(value)
    if lanes is None:
        return None

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return _splat(builder, args[0], lanes.vector)

    return lanes(value), codegen


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, lanes: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(data, lanes.vector.as_pointer())


def _is_row(array: Any) -> bool:
    return isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C" and array.dtype in _LANES_OF


@intrinsic
def load(typingctx, row):  # type: ignore[no-untyped-def]
    """The first GROUP elements of a contiguous row of float32 or uint32."""
    if not _is_row(row):
        return None
    lanes = _LANES_OF[row.dtype]

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        loaded = builder.load(_pointer(context, builder, row, args[0], lanes))
        loaded.align = 4  # of an element: NumPy promises no more
        return loaded

    return lanes(row), codegen


@intrinsic
def store(typingctx, row, value):  # type: ignore[no-untyped-def]
    """Write a vector to the first GROUP elements of a contiguous row."""
    if not _is_row(row) or _LANES_OF[row.dtype] != value:
        return None

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        stored = builder.store(args[1], _pointer(context, builder, row, args[0], value))
        stored.align = 4
        return context.get_dummy_value()

    return types.void(row, value), codegen


@intrinsic
def where(typingctx, flags, a, b):  # type: ignore[no-untyped-def]
    """a in the lanes that are flagged, b in the others."""
    if flags != FLAGS or a != b:
        return None
    return a(flags, a, b), lambda context, builder, sig, args: builder.select(*args)


@intrinsic
def lacks_bit(typingctx, words, mask):  # type: ignore[no-untyped-def]
    """Flags the lanes in which `words & mask` is zero.

    There is no opposite of it: LLVM rewrites a test for "not zero" that a `where` chooses by into one for "zero", and
    then no longer sees that `where(flags, a + w, a)` is a single masked addition.
    """
    if words != WORDS or mask != WORDS:
        return None

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return builder.icmp_unsigned("==", builder.and_(*args), ir.Constant(WORDS.vector, [0] * GROUP))

    return FLAGS(words, mask), codegen


def _call_llvm(builder: Any, name: str, vector: Any, args: Any) -> Any:
    """A function of one vector that LLVM has itself."""
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector]), name)
    return builder.call(function, args)


@intrinsic
def count_bits(typingctx, words):  # type: ignore[no-untyped-def]
    """Number of ones in each lane."""
    if words != WORDS:
        return None

    name = f"llvm.ctpop.v{GROUP}i32"
    return WORDS(words), lambda context, builder, sig, args: _call_llvm(builder, name, WORDS.vector, args)


@intrinsic
def any_bit(typingctx, words):  # type: ignore[no-untyped-def]
    """Whether any lane is not zero."""
    if words != WORDS:
        return None

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        flags = builder.icmp_unsigned("!=", args[0], ir.Constant(WORDS.vector, [0] * GROUP))
        whole = ir.IntType(GROUP)
        return builder.icmp_unsigned("!=", builder.bitcast(flags, whole), ir.Constant(whole, 0))

    return types.boolean(words), codegen


@intrinsic
def lane_numbers(typingctx):  # type: ignore[no-untyped-def]
    """0, 1, ..., GROUP - 1."""
    return WORDS(), lambda context, builder, sig, args: ir.Constant(WORDS.vector, list(range(GROUP)))


@intrinsic
def square_root(typingctx, floats):  # type: ignore[no-untyped-def]
    """Square roots, rounded as IEEE 754 asks for."""
    if floats != FLOATS:
        return None

    name = f"llvm.sqrt.v{GROUP}f32"
    return FLOATS(floats), lambda context, builder, sig, args: _call_llvm(builder, name, FLOATS.vector, args)


@intrinsic
def to_floats(typingctx, words):  # type: ignore[no-untyped-def]
    """The number in each lane, read as int32, as a float32."""
    if words != WORDS:
        return None
    return FLOATS(words), lambda context, builder, sig, args: builder.sitofp(args[0], FLOATS.vector)


@intrinsic
def as_floats(typingctx, words):  # type: ignore[no-untyped-def]
    """The same bits, read as float32."""
    if words != WORDS:
        return None
    return FLOATS(words), lambda context, builder, sig, args: builder.bitcast(args[0], FLOATS.vector)


@intrinsic
def as_words(typingctx, floats):  # type: ignore[no-untyped-def]
    """The same bits, read as words."""
    if floats != FLOATS:
        return None
    return WORDS(floats), lambda context, builder, sig, args: builder.bitcast(args[0], WORDS.vector)
