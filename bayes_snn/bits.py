"""32-bit operations that Numba would widen to 64 bits: spike trains are packed 32 time steps to a word.

Numba promotes `uint32 | uint32` to 64 bits, which halves the lanes of every vector loop it stands in.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_I32 = ir.IntType(32)


def _as_i1(builder: Any, flag: Any) -> Any:
    return flag if flag.type.width == 1 else builder.trunc(flag, ir.IntType(1))


@intrinsic
def set_bit(typingctx, word, mask, flag):  # type: ignore[no-untyped-def]
    """`word | mask` where `flag`, else `word`."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        word, mask, flag = args
        return builder.or_(word, builder.select(_as_i1(builder, flag), mask, ir.Constant(_I32, 0)))

    return types.uint32(types.uint32, types.uint32, types.boolean), codegen


@intrinsic
def has_bit(typingctx, word, mask):  # type: ignore[no-untyped-def]
    """True where `word & mask` is not zero."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.icmp_unsigned("!=", builder.and_(*args), ir.Constant(_I32, 0))

    return types.boolean(types.uint32, types.uint32), codegen


@intrinsic
def flip_if(typingctx, word, mask, flag):  # type: ignore[no-untyped-def]
    """`word ^ mask` where `flag`, else `word`."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        word, mask, flag = args
        return builder.select(_as_i1(builder, flag), builder.xor(word, mask), word)

    return types.uint32(types.uint32, types.uint32, types.boolean), codegen


@intrinsic
def count_bits(typingctx, word):  # type: ignore[no-untyped-def]
    """Number of ones in a word."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.ctpop(args[0])

    return types.int32(types.uint32), codegen


@intrinsic
def xor(typingctx, a, b):  # type: ignore[no-untyped-def]
    """Exclusive or of two booleans, without a detour through integers."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.xor(*(_as_i1(builder, flag) for flag in args))

    return types.boolean(types.boolean, types.boolean), codegen
