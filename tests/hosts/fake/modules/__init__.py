"""A small stand-in for A1111's `modules`: the names that an extension meets, in the order that the host calls them.

Written from what the real host does (the same tests run against it), not from its code.
"""
