"""The conversations as machines that do no I/O: they are told the time and what happened, and say what to do.

Server side: `room.Room`. Client side: the `client_*` modules. `timers` and the records serve both.
"""
