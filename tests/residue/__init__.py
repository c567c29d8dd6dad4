"""Proof of absence: after a workload, none of its secrets is left anywhere but where it belongs.

`python -m tests.residue --runs N`, from the repository's root, after `make audit`. A run makes fresh canaries
(seeds, shares, pads, roots, derived and imported keys), lets five agents, a caller and a reconstructor that works
for others, of the audit build, work with them, and then looks for them, in every form a secret may take, in all
readable memory of these processes, from inside (but the reconstructor's, which takes no commands) and outside, in
core files and in every file they wrote. Afterwards it leaks secrets on purpose, one in every kind of place, and each
must be found: a search that finds nothing proves something only if it would have found it.

    inside      what runs in the processes that are searched: control, plants, the workload
    canaries    what is secret in a run, and what follows from it
    dealing     tokens whose seed and shares are known, because they were dealt here
    household   agents, caller and reconstructor: folders and processes
    search      scanning all of it, and what is set aside
    leaks       kinds of planted leaks, and where each must be found
    scene       what the processes are given, and what happens to them
    one_run     the order of events

What it relies on: the audit build differs from the product in that its arena is ordinary locked memory in a
dumpable process (`test_production.py` looks at what the product has instead). What it does not see: registers of
threads that are not running a job, the kernel's own copies (page cache, pipes, swap), CPU caches.
"""
