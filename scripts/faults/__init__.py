"""What breaks under a real stack while jobs are in flight, and what comes of the jobs.

fault.py      what a fault is                    table.py   every fault there is
of_*.py       the faults themselves, by what they break
stack.py      the stack that is broken           scene.py   what a fault may lay hands on
workload.py   jobs that are handed in            measure.py what became of them
verdict.py    whether the bars are met           row.py     rows, shown and written
run.py        one fault, from its jobs to its row
"""
