"""However many wheels are compiled at once, what waits in memory for them is limited."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from builder.layers import bytecode

PIECE = b"#" * (64 << 10)
WHEELS = PROCESSES = 64


def test_sixty_four_wheels_on_as_many_cores_take_no_more_sources_than_the_limit(
    compiler: bytecode.Compiler,
) -> None:
    taken_bytes = 0

    def sources() -> Iterator[bytecode.Source]:
        nonlocal taken_bytes
        for number in range(10_000):
            taken_bytes += len(PIECE)
            yield bytecode.Source(f"/m{number}.py", PIECE)

    busy = threading.Event()
    with (
        bytecode.Compiler(compiler.interpreter, PROCESSES) as many,
        ThreadPoolExecutor(1) as threads,
        ExitStack() as stack,
    ):
        threads.submit(busy.wait)  # every processor has something else to do
        stack.callback(busy.set)
        for _ in range(WHEELS):
            stack.enter_context(bytecode.Compiled(sources(), many, threads))
        batches = WHEELS * (bytecode.BATCH_BYTES + len(PIECE))
        assert taken_bytes <= bytecode.AHEAD_BYTES + batches
        stack.close()
        assert many.ahead._bytes == 0, "a wheel that fails gives back what it had begun"


def test_a_wheel_goes_on_batch_by_batch_where_others_have_all_there_is(
    compiler: bytecode.Compiler,
) -> None:
    sources = [bytecode.Source(f"/p/m{n}.py", b"N = %d\n" % n) for n in range(300)]

    def compiled() -> list[tuple[str, bytes]]:
        with (
            ThreadPoolExecutor(2) as threads,
            bytecode.Compiled(iter(sources), compiler, threads) as found,
        ):
            return list(found)

    alone = compiled()
    compiler.ahead.add(bytecode.AHEAD_BYTES)
    try:
        assert compiled() == alone
    finally:
        compiler.ahead.add(-bytecode.AHEAD_BYTES)
    assert [path for path, _ in alone] == [
        f"p/__pycache__/m{n}.{compiler.interpreter.tag}.pyc" for n in range(300)
    ]
