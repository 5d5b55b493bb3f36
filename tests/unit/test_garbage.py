"""What a process has loaded is looked through for garbage no more."""

import json
import subprocess
import sys

PROGRAM = """
import gc, json
from workers.garbage import keep_what_is_loaded
before = gc.get_threshold()
keep_what_is_loaded()
loop = []; loop.append(loop); del loop
print(json.dumps([before, gc.get_threshold(), gc.get_freeze_count(), gc.collect()]))
"""


def test_it_is_frozen_and_the_young_are_looked_through_less_often():
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    before, after, frozen, collected = json.loads(ran.stdout)

    assert frozen > 1_000
    assert after[0] > before[0]
    assert after[1:] == before[1:]
    assert collected >= 1  # what is made after it is garbage as ever
