"""An extension of ASGI: the server ends an answer nobody waits for, so that no task has to listen for hang-ups.

`scope["extensions"][HANG_UP]` takes a cancel scope, which is cancelled when the client hangs up before its answer is
complete. The message `http.disconnect` comes all the same.
"""

HANG_UP = "gflow.hang_up"
