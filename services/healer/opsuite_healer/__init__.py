"""The healer: finds trouble, mends it within brakes, proves it, or wakes a person.

It promises that nothing is mended twice at once, that nothing counts as mended before it has stayed healthy, that what
a brake refuses is recorded and told, and that what it cannot mend reaches somebody. Read `domain/targets.py` and
`domain/trouble.py` (what everything is about); then each part by itself, in the order in which trouble passes through
them: `checks` (is it healthy), `alerts` (what is told together, and what is kept quiet), `incidents` (what is open,
and who is woken), `remediation` (what is done about it), `runbooks` (work of several steps). Each part has a package
in `domain/`, `application/` and `adapters/`, and a module in `composition/`, the only place where classes meet.
"""
