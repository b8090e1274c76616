"""supervisord's programs with their output in the one format, by deriving its classes.

A configuration makes its process and that process's dispatchers, one for each pipe. Ours are told apart by
what they do with the bytes they read; all else is supervisord's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from supervisor.dispatchers import POutputDispatcher
from supervisor.options import EventListenerConfig, ProcessConfig
from supervisor.process import Subprocess

from ops.run.output.line_stream import LineStream

#: Makes the stream of a program's process, by the names of both.
MakeStream = Callable[[str, str], LineStream]
#: Takes lines to be printed.
Print = Callable[[bytes], None]


class Output(POutputDispatcher):  # type: ignore[misc]  # supervisor has no types
    """Reads one pipe of one process."""

    output_buffer: bytes

    def attach(self, stream: LineStream, print_lines: Print) -> None:
        """Say where the bytes go."""
        self._stream = stream
        self._print = print_lines

    def record_output(self) -> None:
        """Print what has been read."""
        data, self.output_buffer = self.output_buffer, b""
        self._print(self._stream.feed(data))

    def readable(self) -> bool:
        """Print what has waited long enough, too: supervisord asks this at least once a second."""
        self._print(self._stream.settle())
        return bool(super().readable())

    def close(self) -> None:
        """Print what is left."""
        self.end()
        super().close()

    def end(self) -> None:
        """Print what is left. Comes twice where the pipe has been read to its end."""
        self._print(self._stream.end())


class Program(Subprocess):  # type: ignore[misc]
    """A process whose last words are printed, also those without an end of line."""

    def drain(self) -> None:
        """Read what a process that has ended left in its pipes."""
        super().drain()
        for dispatcher in self.dispatchers.values():
            if isinstance(dispatcher, Output):
                dispatcher.end()


class _Printed:
    """Mixed into a configuration of supervisord's. Its options choose how lines are made."""

    options: Any
    name: str

    def make_process(self, group: Any = None) -> Program:
        """Make the process."""
        process = Program(self)
        process.group = group
        return process

    def make_dispatchers(self, process: Any) -> tuple[dict[int, Any], Any]:
        """Make what reads its pipes, and the pipes."""
        dispatchers, pipes = super().make_dispatchers(process)  # type: ignore[misc]  # the configuration's
        service = process.group.config.name
        for descriptor, made in list(dispatchers.items()):
            if isinstance(made, POutputDispatcher):
                output = Output(process, made.event_type, descriptor)
                output.attach(self.options.make_stream(service, self.name), self.options.print_lines)
                dispatchers[descriptor] = output
        return dispatchers, pipes


class PrintedProgram(_Printed, ProcessConfig):  # type: ignore[misc]
    """A program."""


class PrintedListener(_Printed, EventListenerConfig):  # type: ignore[misc]
    """An event listener: supervisord reads its standard output; its standard error is printed."""


#: Our class for each of supervisord's configurations.
PRINTED = {ProcessConfig: PrintedProgram, EventListenerConfig: PrintedListener}
