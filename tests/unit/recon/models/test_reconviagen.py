"""The adapter against a stand-in of upstream's classes: results, faults, and what is left behind."""

GIB = 1 << 30
