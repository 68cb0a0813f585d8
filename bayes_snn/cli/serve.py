"""The command `python -m bayes_snn.serve`: a chip for other processes and machines."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from bayes_snn.cli.terminal import help_option, option, run_app
from bayes_snn.errors import InputError
from bayes_snn.names import MAX_BYTES, TOKEN

PROGRAM = "python -m bayes_snn.serve"
LEAST_BYTES = 4096

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
console = Console(stderr=True)

_SERVER = "Server"
_EXAMPLES = f"""Examples:

{PROGRAM} my_lab:MyChip

{PROGRAM} my_lab:MyChip --bind tcp://10.0.0.7:5555 --token-file token.txt

{PROGRAM} my_lab:MyChip --bind tcp://10.0.0.7:5555 --token-file token.txt --curve lab.key_secret
"""


def _new_keys(name: str | None) -> None:
    """Callback of --new-keys."""
    if name is None:
        return
    try:
        from bayes_snn.chips.remote.handshake import make_keys
    except ImportError:
        raise InputError("Keys need pyzmq: install it with pip install 'bayes_snn[remote]'.") from None
    public, secret = make_keys(name)
    typer.echo(f"{secret} is for the server, {public} for its clients.")
    raise typer.Exit


@app.command(epilog=_EXAMPLES, add_help_option=False)
def command(
    chip: Annotated[str, typer.Argument(metavar="MODULE:NAME", help="A chip, or a class or function that makes one.")],
    bind: Annotated[
        str, option(_SERVER, "ADDRESS", "Address to listen at; * takes a free port.")
    ] = "tcp://127.0.0.1:5555",
    token_file: Annotated[
        str | None, option(_SERVER, "PATH", f"File with the token that clients must show. [default: ${TOKEN}]")
    ] = None,
    curve: Annotated[
        str | None, option(_SERVER, "PATH", "File with the server's secret key, to encrypt connections.")
    ] = None,
    new_keys: Annotated[
        str | None,
        option(
            _SERVER,
            "NAME",
            "Write a new pair of keys, NAME.key_secret for --curve and NAME.key for clients, and end.",
            is_eager=True,
            callback=_new_keys,
        ),
    ] = None,
    max_bytes: Annotated[int, option(_SERVER, "N", "Largest message accepted, in bytes.")] = MAX_BYTES,
    show_help: Annotated[bool, help_option(_SERVER)] = False,
) -> None:
    """Serve a chip to `RemoteChip` and to `python -m bayes_snn.fit --chip tcp://...`.

    Runs are made one at a time, and clients take turns. Ctrl-C or SIGTERM ends it after the current run.
    """
    from bayes_snn.chips.by_name import find_chip, read_token

    try:
        from bayes_snn.chips.remote.server import Server
    except ImportError:
        raise InputError("A server needs pyzmq: install it with pip install 'bayes_snn[remote]'.") from None
    if not LEAST_BYTES <= max_bytes <= 2**40:
        raise InputError(f"--max-bytes was {max_bytes}, but a number from {LEAST_BYTES:,} is expected: leave it out.")
    token = read_token(token_file)
    served = find_chip(chip)

    def log(sentence: str) -> None:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    with Server(served, bind, token=token, curve=curve, max_bytes=max_bytes, log=log) as server:

        def stop(number: int, frame: FrameType | None) -> None:
            server.stop()
            for each in before:  # a second one ends a run that hangs
                signal.signal(each, before[each])

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            guarded = ("with a token" if token else "without a token") + (", encrypted" if curve else "")
            log(f"Serving {served!r} at {server.address}, {guarded}. Ctrl-C ends it.")
            server.serve()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        log("The server has ended.")


def main() -> None:
    """Run the command; what a person can fix is said in one sentence, with exit code 2."""
    run_app(app, PROGRAM, "The server was ended in the middle of a run.", "The chip does not fit into memory.")
