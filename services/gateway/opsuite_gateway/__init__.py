"""The gateway: the contracts of the suite over HTTP, for browsers, scripts and people.

It promises that every RPC can be reached and says the same there, that a stream that broke goes on where it broke, and
that nobody can do through it what their own token does not allow: it holds no rules and no rights of its own. Read
`transcoding/bindings.py` (which request means which method), `transcoding/messages.py` (what it says), `http/api.py`
(how it is answered), and `composition.py`, the only place where classes meet.
"""
