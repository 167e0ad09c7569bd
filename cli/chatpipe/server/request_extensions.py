"""The keys of `request.extensions`: a request carries here what its layers tell each other about it.

    from the server asked   WAYS_TO_A_KEY, KEY_LINES, THROUGH_PROXY   to the words of a fault
    from the exchange       "timeout", DEADLINE, MAX_REPLY, CHOICES   to the transport and the reader
    from a run              REPLY_MEMORY                              to the reader
    between two attempts    LOST_KEPT, RECORDED_AS                    from and to the transport

A redirect and a retry have the extensions of the first request. "timeout" is httpx's own: seconds by the kind
of wait. Each key may be missing.
"""

from __future__ import annotations

# The ways to give the key that the request lacks, as phrases.
WAYS_TO_A_KEY = "ways_to_a_key"
# The number and the place of the lines of which the key of the request is the first, in words.
KEY_LINES = "key_lines"
# The URL of the proxy on the way, and the option or variable that names it.
THROUGH_PROXY = "through_proxy"
# The end of all attempts on the clock of time.monotonic(), None for no end.
DEADLINE = "deadline"
# The largest body of the reply, in bytes. Without it there is no limit.
MAX_REPLY = "max_reply_bytes"
# The number of choices that the body of the request asks for.
CHOICES = "choices"
# The ReplyMemory of the run.
REPLY_MEMORY = "reply_memory"
# True if every read of the reply is passed on at once, even of a plain answer.
IN_PIECES = "in_pieces"
# True if a kept connection was closed as the request arrived. A transport sets it, and leaves the retry to
# its caller. The next attempt of the request gets a new connection.
LOST_KEPT = "lost_kept"
# The RecordedAttempt of an exchange that is recorded or replayed.
RECORDED_AS = "recorded_as"
