"""The scaler: keeps every target as large as its policy wants it, and says why.

It promises that one function decides, that a metric which fails never makes anything smaller, and that every decision
can be read, and played again, afterwards. Read `domain/policy.py` (what is wanted), `domain/snapshot.py` (what was
seen), `domain/decision.py` (what comes out), then `domain/decide.py`, which walks from one to the other.
`application/targets.py` asks it in a loop and makes the answer true; `adapters/` is the world, `composition.py` the
only place where classes meet.
"""
