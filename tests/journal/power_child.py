"""A process that keeps answers, prints which of them are durable, and loses its power."""

import asyncio
import os
import signal
import sys
import threading

from journal_fixture import OK, call

from openai_parallel_toolkit.core.loop_calls import LoopCalls
from openai_parallel_toolkit.journal import Journal

THREADS, ANSWERS, BODY_BYTES = 4, 20, 50_000


def main(folder, place):
    journal = Journal.open(folder)
    if place == "loop":
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        journal.write_on(LoopCalls(loop))
    journal.begin_run("")
    file = journal.file("a").id

    def keep(first):
        for number in range(first, first + ANSWERS):
            told, errors = threading.Event(), []

            def done(error, told=told, errors=errors):
                errors.append(error)
                told.set()

            asked = call(file, number)
            attempt = journal.claim(
                asked, key_name="k", model="m", max_cost_usd=None, reply_bytes=0, done=done
            )
            told.wait()
            told.clear()
            journal.answered(attempt, asked, OK, os.urandom(BODY_BYTES), None, done)
            told.wait()
            if errors == [None, None]:
                os.write(1, f"{asked.hash}\n".encode())

    threads = [threading.Thread(target=keep, args=(n * ANSWERS,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
