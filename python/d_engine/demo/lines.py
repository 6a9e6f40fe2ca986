"""The child's half of a line protocol over standard input and output: one JSON object a line, answers in any order.

A request is `{"id": 7, "op": "status", ...}`, its answer `{"id": 7, ...}`. Answers are written by one thread of their
own, everything that is waiting at once: the threads that complete proposals never wait for the pipe.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

Answer = Callable[[dict[str, Any]], None]
Handler = Callable[[dict[str, Any], Answer], None]
WRITE_AT_ONCE = 256


class LineServer:
    """Reads requests from standard input until it ends, which is also how a child learns that its parent has died."""

    def __init__(self) -> None:
        # What anything else prints goes to standard error: the protocol has the pipe to itself.
        self._out = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        self._answers: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="demo-answers", daemon=True)
        self._writer.start()

    def say(self, message: dict[str, Any]) -> None:
        """Sends a message; from any thread, never blocks."""
        self._answers.put(message)

    def serve(self, handlers: dict[str, Handler]) -> None:
        """Calls the handler of each request on this thread. A handler answers at once or later, from any thread; an
        exception in it is the answer."""
        for line in sys.stdin.buffer:
            request = json.loads(line)
            number = request["id"]

            def answer(body: dict[str, Any], number: int = number) -> None:
                self.say({"id": number, **body})

            try:
                handlers[request["op"]](request, answer)
            except Exception as error:  # noqa: BLE001 (whatever it is, the parent is told and decides)
                answer({"error": f"{type(error).__name__}: {error}"})

    def close(self) -> None:
        """Writes what is waiting and ends the writer."""
        self._answers.put(None)
        self._writer.join(timeout=5)

    def _write(self) -> None:
        while True:
            messages = [self._answers.get()]
            while not self._answers.empty() and len(messages) < WRITE_AT_ONCE:
                messages.append(self._answers.get())
            lines = b"".join(json.dumps(message).encode() + b"\n" for message in messages if message is not None)
            try:
                view = memoryview(lines)
                while view:
                    view = view[self._out.write(view) :]
            except OSError:  # the parent is gone; standard input ends as well
                return
            if messages[-1] is None:
                return
