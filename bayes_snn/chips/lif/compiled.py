"""How Numba compiles the kernels of this folder, and those that learn twins of such chips.

A first fit waits for them, so they are compiled for what a chip needs and for no more. An argument that is None, where
a chip lacks something, has Numba leave out all that would deal with it (`if run is not None`). At every call between
functions the arguments are compiled again, and a tuple of many arrays is many of them: functions get the few parts that
they need.
"""

from __future__ import annotations

from numba import njit

# called from Python; without references to count, for it allocates nothing, and would spend much of its time on
# counting the views that it takes of its arguments' rows
kernel = njit(cache=True, nogil=True, error_model="numpy", _nrt=False, no_cfunc_wrapper=True)

# the same, called by kernels alone: what Python would call it through is not compiled
inner = njit(cache=True, error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)

# written into its callers by LLVM: by Numba itself (`inline="always"`) all compiling takes half as long again. Not
# stored, as it is part of what is. For what is small, has vectors for arguments, or is called in one place
inlined = njit(error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)
