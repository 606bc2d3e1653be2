"""A stand-in for the parts of ReconViaGen that the adapter touches: no networks, the same interface.

Written for these tests; tests/gpu compares its signatures with the real ones.
"""
