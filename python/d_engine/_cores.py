"""What `d_engine._core` has of cores and drivers as functions. Private: `d_engine.core` re-exports what is meant for users."""

from ._process import native

_native = native()

NativeCore = _native.NativeCore
NativeDriver = _native.NativeDriver
change = _native.change
committed_index = _native.committed_index
vote_result = _native.vote_result
