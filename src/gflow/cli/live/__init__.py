"""gflow top: the queue, the GPUs and the log of a job on the whole screen, as they change.

Threads ask the daemon and listen to it; the screen only ever shows what they last brought, so that nothing of it waits
for a daemon that is slow or away.
"""
