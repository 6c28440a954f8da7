"""The deployer: turns a requested version into a running one, or puts the old one back.

It promises that nothing acknowledged is lost or done twice, whatever process dies when, and that a bad version never
stays. Read `domain/pipeline.py` (what is described), `domain/deployment.py` (where a run of it stands),
`domain/progress.py` (what happens next) and `domain/rollback.py` (how it ends); then `application/runner.py` and
`acting.py`, which make it true, and `admission.py`, which lets the next one in. `adapters/` is the world,
`composition.py` the only place where classes meet.
"""
