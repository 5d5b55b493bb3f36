"""Garbage collection of a process that runs for long: what is loaded by now stays.

To look through it for garbage again and again would stall what runs: a worker spent a sixth of its
time so (py-spy, 1,000 jobs/s).
"""

import gc

# As many objects more than went before the youngest are looked through; Python's own 700 fit a
# program of some thousand objects, not one that has hundreds of calls on their way.
YOUNG = 10_000


def keep_what_is_loaded() -> None:
    """Once everything is imported and open."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
